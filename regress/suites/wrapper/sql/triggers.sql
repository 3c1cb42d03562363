-- Row triggers of the remote table and of the foreign table: each fires once for
-- each row, and sees and changes what it would with postgres_fdw.
\getenv n1 N1
\getenv n2 N2
\connect - - - :n2
CREATE TABLE tg_log (n serial, tab text, what text, old text, new text);
CREATE FUNCTION tg() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.tg_log (tab, what, old, new) VALUES (TG_TABLE_NAME, concat_ws(' ', TG_WHEN, TG_OP, TG_LEVEL),
        CASE WHEN TG_OP IN ('UPDATE', 'DELETE') AND TG_LEVEL = 'ROW' THEN OLD::text END,
        CASE WHEN TG_OP IN ('UPDATE', 'INSERT') AND TG_LEVEL = 'ROW' THEN NEW::text END);
    IF TG_WHEN = 'AFTER' OR TG_LEVEL = 'STATEMENT' THEN RETURN NULL; END IF;
    IF TG_OP = 'DELETE' THEN
        IF OLD.v = 'stays' THEN RETURN NULL; END IF;
        RETURN OLD;
    END IF;
    IF NEW.v = 'out' THEN RETURN NULL; END IF;
    NEW.w := concat(NEW.w, left(TG_OP, 1));
    RETURN NEW;
END $$;
CREATE TABLE tg_ours (id int PRIMARY KEY, v text, w text, g int GENERATED ALWAYS AS (id * 3) STORED);
CREATE TABLE tg_stock (LIKE tg_ours INCLUDING ALL);
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['tg_ours', 'tg_stock'] LOOP
        EXECUTE format('CREATE TRIGGER b BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION tg()', t);
        EXECUTE format('CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION tg()', t);
    END LOOP;
END $$;
\connect - - - :n1
CREATE EXTENSION postgres_fdw;
CREATE SERVER stock2 FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port :'n2', dbname 'postgres');
CREATE USER MAPPING FOR postgres SERVER stock2 OPTIONS (user 'postgres');
CREATE FOREIGN TABLE tg_ours (id int, v text, w text, g int GENERATED ALWAYS AS (id * 3) STORED) SERVER s2;
CREATE FOREIGN TABLE tg_stock (id int, v text, w text, g int GENERATED ALWAYS AS (id * 3) STORED) SERVER stock2;
CREATE FOREIGN TABLE tg_log_far (n int, tab text, what text, old text, new text) SERVER s2 OPTIONS (table_name 'tg_log');
-- Runs a statement on both; what it returns and counts must be the same.
CREATE TABLE tg_said (tab text, line text);
CREATE FUNCTION tg_both(statement text) RETURNS TABLE (count bigint, returned text) LANGUAGE plpgsql AS $$
DECLARE t text; r record; sql text;
BEGIN
    TRUNCATE tg_said;
    FOREACH t IN ARRAY ARRAY['tg_ours', 'tg_stock'] LOOP
        sql := replace(statement, '<t>', t);
        IF sql ~ 'RETURNING' THEN
            FOR r IN EXECUTE sql LOOP INSERT INTO tg_said VALUES (t, r::text); END LOOP;
        ELSE
            EXECUTE sql;
            GET DIAGNOSTICS count = ROW_COUNT;
            INSERT INTO tg_said VALUES (t, 'rows: ' || count);
        END IF;
    END LOOP;
    RETURN QUERY SELECT count(*), line FROM tg_said GROUP BY tab, line
        HAVING tab = 'tg_ours' OR line NOT IN (SELECT line FROM tg_said WHERE tab = 'tg_ours') ORDER BY line;
END $$;
CREATE TABLE tg_log (n serial, tab text, what text, old text, new text);
-- What the triggers of either saw: as often on both.
CREATE FUNCTION tg_compare() RETURNS TABLE (side text, what text, times bigint, as_often boolean) LANGUAGE sql AS $$
    SELECT 'there', what, count(*) FILTER (WHERE tab = 'tg_ours'),
           array_agg(concat(old, '>', new) ORDER BY old, new) FILTER (WHERE tab = 'tg_ours')
           = array_agg(concat(old, '>', new) ORDER BY old, new) FILTER (WHERE tab = 'tg_stock')
    FROM tg_log_far GROUP BY what
    UNION ALL
    SELECT 'here', what, count(*) FILTER (WHERE tab = 'tg_ours'),
           array_agg(concat(old, '>', new) ORDER BY old, new) FILTER (WHERE tab = 'tg_ours')
           = array_agg(concat(old, '>', new) ORDER BY old, new) FILTER (WHERE tab = 'tg_stock')
    FROM tg_log GROUP BY what ORDER BY 1, 2 $$;
CREATE PROCEDURE tg_all() LANGUAGE plpgsql AS $$
DECLARE s text; r record;
BEGIN
    FOREACH s IN ARRAY ARRAY[
        'INSERT INTO <t> VALUES (1, ''a'')', 'INSERT INTO <t> VALUES (2, ''out'')',
        'INSERT INTO <t> VALUES (3, ''b''), (4, ''out''), (5, ''c'') RETURNING *',
        'INSERT INTO <t> SELECT i, CASE WHEN i % 10 = 0 THEN ''out'' ELSE ''v'' || i END FROM generate_series(10, 60) i',
        'INSERT INTO <t> VALUES (1, ''again''), (6, ''d'') ON CONFLICT DO NOTHING',
        'COPY <t> (id, v) FROM PROGRAM ''printf "70,x\n71,z\n72,y\n"'' (FORMAT csv)',
        'UPDATE <t> SET v = v || ''!'' WHERE id < 20', 'UPDATE <t> SET v = ''out'' WHERE id = 21',
        'UPDATE <t> SET v = ''stays'' WHERE id IN (22, 23) RETURNING id, v, w, g',
        'UPDATE <t> t SET v = x.v FROM (VALUES (24, ''joined''), (25, ''out'')) x(id, v) WHERE x.id = t.id RETURNING t.*',
        'UPDATE <t> SET id = id + 1000 WHERE id IN (26, 27) RETURNING *',
        'DELETE FROM <t> WHERE id BETWEEN 22 AND 30', 'DELETE FROM <t> WHERE id = 31 RETURNING *',
        'DELETE FROM <t> USING generate_series(32, 34) i WHERE i = id RETURNING i, v'] LOOP
        RAISE NOTICE '%', s;
        FOR r IN SELECT * FROM tg_both(s) LOOP RAISE NOTICE '  % x %', r.count, r.returned; END LOOP;
    END LOOP;
END $$;
CALL tg_all();
SELECT * FROM tg_compare();
-- the same with triggers on the foreign tables, too
CREATE FUNCTION tg_here() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.tg_log (tab, what, old, new) VALUES (TG_TABLE_NAME, concat_ws(' ', TG_WHEN, TG_OP, TG_LEVEL),
        CASE WHEN TG_OP IN ('UPDATE', 'DELETE') AND TG_LEVEL = 'ROW' THEN OLD::text END,
        CASE WHEN TG_OP IN ('UPDATE', 'INSERT') AND TG_LEVEL = 'ROW' THEN NEW::text END);
    IF TG_WHEN = 'AFTER' OR TG_LEVEL = 'STATEMENT' THEN RETURN NULL; END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    IF NEW.v = 'v15' THEN RETURN NULL; END IF;
    NEW.v := NEW.v || '-here';
    RETURN NEW;
END $$;
DO $$
DECLARE t text; w text; l text;
BEGIN
    FOREACH t IN ARRAY ARRAY['tg_ours', 'tg_stock'] LOOP
        FOREACH w IN ARRAY ARRAY['BEFORE', 'AFTER'] LOOP
            FOREACH l IN ARRAY ARRAY['ROW', 'STATEMENT'] LOOP
                EXECUTE format('CREATE TRIGGER %I %s INSERT OR UPDATE OR DELETE ON %I FOR EACH %s EXECUTE FUNCTION tg_here()', w || l, w, t, l);
            END LOOP;
        END LOOP;
    END LOOP;
END $$;
DELETE FROM tg_ours; DELETE FROM tg_stock; TRUNCATE tg_log; DELETE FROM tg_log_far;
UPDATE tg_ours SET v = 'x'; UPDATE tg_stock SET v = 'x'; DELETE FROM tg_ours; DELETE FROM tg_stock;
TRUNCATE tg_log; DELETE FROM tg_log_far;
CALL tg_all();
SELECT * FROM tg_compare();
SELECT count(*), md5(string_agg(t::text, ',' ORDER BY id)) = (SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM tg_stock t) FROM tg_ours t;
DROP FOREIGN TABLE tg_ours, tg_stock, tg_log_far;
DROP TABLE tg_log, tg_said;
DROP EXTENSION postgres_fdw CASCADE;
\connect - - - :n2
DROP TABLE tg_ours, tg_stock, tg_log;
