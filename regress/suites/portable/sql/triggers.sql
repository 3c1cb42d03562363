-- Row triggers fire once for each row, wherever the row is and whoever asks.
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
SET shardman.broadcast_ddl = on;
\set by_id 'WITH (distributed_by = ''id'', num_parts = 9)'
\set with_it 'WITH (distributed_by = ''id'', colocate_with = ''trig'')'
\else
\set by_id ''
\set with_it ''
\endif
CREATE TABLE trig (id int PRIMARY KEY, v int, stamp text) :by_id;
CREATE TABLE trig_log (id int, what text, old_v int, new_v int) :with_it;
CREATE FUNCTION trig_before() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.v = -1 THEN RETURN NULL; END IF;
        RETURN OLD;
    END IF;
    IF NEW.v = 13 THEN RETURN NULL; END IF;
    NEW.stamp := coalesce(NEW.stamp, '') || lower(left(TG_OP, 1));
    RETURN NEW;
END $$;
CREATE FUNCTION trig_after() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trig_log (what, id, old_v, new_v) VALUES (TG_WHEN || ' ' || TG_OP,
        CASE WHEN TG_OP = 'DELETE' THEN OLD.id ELSE NEW.id END,
        CASE WHEN TG_OP <> 'INSERT' THEN OLD.v END, CASE WHEN TG_OP <> 'DELETE' THEN NEW.v END);
    RETURN NULL;
END $$;
CREATE FUNCTION trig_refuses() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE 'row % is not wanted', NEW.id USING ERRCODE = 'P0042'; END $$;
CREATE TRIGGER a_before BEFORE INSERT OR DELETE ON trig FOR EACH ROW EXECUTE FUNCTION trig_before();
CREATE TRIGGER b_after AFTER INSERT OR UPDATE OR DELETE ON trig FOR EACH ROW EXECUTE FUNCTION trig_after();
\connect - - - :n2
-- inserts of every kind; rows with v = 13 are left out, and not counted
DO $$
DECLARE n bigint; total bigint := 0;
BEGIN
    INSERT INTO trig SELECT g, g % 20, NULL FROM generate_series(1, 200) g;
    GET DIAGNOSTICS n = ROW_COUNT; total := total + n;
    INSERT INTO trig VALUES (201, 13, 'x'), (202, 14, 'x'), (203, 13, 'x'), (204, 15, NULL);
    GET DIAGNOSTICS n = ROW_COUNT; total := total + n;
    FOR i IN 205..224 LOOP
        INSERT INTO trig VALUES (i, i % 20, NULL);
        GET DIAGNOSTICS n = ROW_COUNT; total := total + n;
    END LOOP;
    INSERT INTO trig VALUES (1, 1, 'again'), (225, 1, NULL) ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS n = ROW_COUNT; total := total + n;
    COPY trig (id, v) FROM PROGRAM 'seq 501 520 | sed "s/$/,13/"; echo 521,1; echo 522,2' (FORMAT csv);
    GET DIAGNOSTICS n = ROW_COUNT; total := total + n;
    RAISE NOTICE 'inserted %', total;
END $$;
COPY trig (id, v) FROM stdin;
301	1
302	13
303	3
304	13
305	5
306	6
\.
SELECT count(*), sum(v) FROM trig WHERE id > 300;
WITH i AS (INSERT INTO trig VALUES (401, 1, 'r'), (402, 13, 'r'), (403, 3, 'r') RETURNING *) SELECT * FROM i ORDER BY id;
SELECT stamp, count(*) FROM trig GROUP BY stamp ORDER BY stamp;
SELECT what, count(*), count(DISTINCT id) AS ids, sum(old_v) AS old_v, sum(new_v) AS new_v FROM trig_log GROUP BY what ORDER BY what;
DELETE FROM trig_log;
\connect - - - :n3
-- updates and deletes sent whole, and row by row
UPDATE trig SET v = v + 100 WHERE id <= 50;
UPDATE trig SET v = -1 WHERE id IN (1, 2, 3);
UPDATE trig t SET v = t.v + x.d FROM (VALUES (60, 1), (61, 2), (62, 3)) x(id, d) WHERE x.id = t.id;
SELECT what, count(*), count(DISTINCT id) AS ids, sum(old_v) AS old_v, sum(new_v) AS new_v FROM trig_log GROUP BY what ORDER BY what;
DELETE FROM trig WHERE id <= 10;
SELECT id FROM trig WHERE id <= 10 ORDER BY id;
DELETE FROM trig USING (VALUES (60), (61)) x(id) WHERE x.id = trig.id;
SELECT what, count(*), count(DISTINCT id) AS ids, sum(old_v) AS old_v, sum(new_v) AS new_v FROM trig_log GROUP BY what ORDER BY what;
-- an error in a trigger undoes the statement
CREATE TRIGGER refuses AFTER UPDATE ON trig FOR EACH ROW WHEN (NEW.v = 4711) EXECUTE FUNCTION trig_refuses();
DO $$
DECLARE failed int := 0;
BEGIN
    FOR i IN 140..160 LOOP
        BEGIN
            UPDATE trig SET v = v + 1 WHERE id > 100;
            UPDATE trig SET v = 4711 WHERE id = i;
        EXCEPTION WHEN SQLSTATE 'P0042' THEN failed := failed + 1;
        END;
    END LOOP;
    RAISE NOTICE '% refused', failed;
END $$;
SELECT count(*), sum(v) FROM trig WHERE id > 100;
SELECT count(*) FROM trig WHERE id BETWEEN 140 AND 160;
DROP TABLE trig;
DROP TABLE trig_log;
