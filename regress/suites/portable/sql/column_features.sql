-- What a column or a table can have, through every node.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
SET shardman.broadcast_ddl = on;
\set everywhere 'WITH (replicated)'
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\set by_tenant 'WITH (distributed_by = ''tenant'', num_parts = 6)'
\set with_it 'WITH (distributed_by = ''id'', colocate_with = ''cf_main'')'
\else
\set everywhere ''
\set by_id ''
\set by_tenant ''
\set with_it ''
\endif

-- defaults, generated columns, checks, domains
CREATE DOMAIN cf_percent AS numeric DEFAULT 50 CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN cf_code AS text COLLATE "C" NOT NULL CHECK (VALUE ~ '^[A-Z]+$');
CREATE FUNCTION cf_twice(int) RETURNS int LANGUAGE sql IMMUTABLE RETURN $1 * 2;
CREATE FUNCTION cf_who() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN 'made by ' || current_user; END $$;
CREATE TABLE cf_main (
    id int PRIMARY KEY,
    a int NOT NULL DEFAULT 7,
    twice int GENERATED ALWAYS AS (cf_twice(a)) STORED,
    share cf_percent,
    code cf_code DEFAULT 'X',
    who text DEFAULT cf_who(),
    day date DEFAULT DATE '2024-02-28' + 1,
    tags text[] DEFAULT '{}' CHECK (cardinality(tags) < 3),
    "Odd name" text COLLATE "C" DEFAULT 'it''s',
    CONSTRAINT cf_order CHECK (a > id OR a = 7)
) :by_id;
INSERT INTO cf_main (id) SELECT g FROM generate_series(1, 6) AS g;
\connect - - - :n2
INSERT INTO cf_main (id, a, share, code) VALUES (7, 8, 12.5, 'ABC') RETURNING *;
INSERT INTO cf_main (id, a) VALUES (8, DEFAULT), (9, 10), (10, 11);
\connect - - - :n3
UPDATE cf_main SET a = DEFAULT, tags = tags || 'x'::text, share = DEFAULT WHERE id IN (7, 9);
UPDATE cf_main SET a = id + 20 WHERE id > 8;
UPDATE cf_main SET twice = 1 WHERE id = 1;
UPDATE cf_main SET twice = DEFAULT WHERE id IN (1, 2, 3, 4, 5, 6);
SELECT format('UPDATE cf_main SET twice = DEFAULT WHERE id = %s RETURNING twice', g) FROM generate_series(1, 6) AS g \gexec
\set VERBOSITY sqlstate
INSERT INTO cf_main DEFAULT VALUES;
INSERT INTO cf_main (id, twice) VALUES (11, 1);
INSERT INTO cf_main (id, a) SELECT g, NULL FROM generate_series(11, 16) AS g;
INSERT INTO cf_main (id, a) VALUES (30, 1);
INSERT INTO cf_main (id, share) VALUES (31, 101);
INSERT INTO cf_main (id, code) VALUES (32, 'lower');
INSERT INTO cf_main (id, code) VALUES (33, NULL);
UPDATE cf_main SET a = NULL WHERE id = 1;
UPDATE cf_main SET a = 0 WHERE id > 2;
UPDATE cf_main SET share = share + 60 WHERE id = 4;
UPDATE cf_main SET code = lower(code) WHERE id IN (5, 6);
UPDATE cf_main SET tags = '{a,b,c}' WHERE id = 3;
\set VERBOSITY default
SELECT * FROM cf_main ORDER BY id;
-- what an error says of its place
\if :sharded
SET shardman.broadcast_ddl = on;
\endif
CREATE FUNCTION cf_error(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE r record; c text; t text; s text; k text;
BEGIN
    EXECUTE command;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS c = CONSTRAINT_NAME, t = COLUMN_NAME, s = SCHEMA_NAME, k = PG_DATATYPE_NAME;
    RETURN SQLSTATE || ' ' || c || ' ' || t || ' ' || k;
END $$;
SELECT id, cf_error(format('UPDATE cf_main SET a = NULL WHERE id = %s', id)),
       cf_error(format('UPDATE cf_main SET a = 0 WHERE id = %s', id)),
       cf_error(format('UPDATE cf_main SET share = 1000 WHERE id = %s', id)),
       cf_error(format('INSERT INTO cf_main (id, a) VALUES (%s, 0)', id + 100)),
       cf_error(format('INSERT INTO cf_main (id, code) VALUES (%s, ''x'')', id + 100))
  FROM cf_main WHERE id <= 6 ORDER BY id;

-- row types and whole rows
\connect - - - :n1
\if :sharded
SET shardman.broadcast_ddl = on;
\endif
CREATE TABLE cf_row (id int PRIMARY KEY, v text, n int) :by_id;
INSERT INTO cf_row SELECT g, 'v' || g, NULLIF(g % 3, 0) FROM generate_series(1, 9) AS g;
CREATE FUNCTION cf_describe(cf_row) RETURNS text LANGUAGE sql IMMUTABLE RETURN $1.id || ':' || coalesce($1.v, '?');
CREATE FUNCTION cf_make(i int) RETURNS cf_row LANGUAGE sql IMMUTABLE RETURN ROW(i, 'made', i)::cf_row;
\connect - - - :n2
SELECT r FROM cf_row AS r ORDER BY id;
SELECT r.*, r IS NULL, r IS NOT NULL FROM cf_row AS r WHERE id IN (2, 3) ORDER BY id;
SELECT cf_describe(r), r.cf_describe, (r).v FROM cf_row AS r WHERE id < 4 ORDER BY id;
SELECT cf_describe(r) FROM cf_row AS r WHERE id = 5;
SELECT row_to_json(r), to_jsonb(r) - 'v' FROM cf_row AS r WHERE r.id = 4;
SELECT count(r), count(DISTINCT r), max(r.v) FROM cf_row AS r;
SELECT array_agg(r ORDER BY id) FROM cf_row AS r WHERE id < 4;
SELECT r.id FROM cf_row AS r WHERE r = ROW(4, 'v4', 1)::cf_row;
SELECT r.id FROM cf_row AS r WHERE r > ROW(7, '', 0)::cf_row ORDER BY 1;
SELECT a.id, b FROM cf_row AS a JOIN cf_row AS b ON a.id = b.id AND cf_describe(a) = cf_describe(b) WHERE a.n IS NULL ORDER BY 1;
SELECT a.id, b FROM cf_row AS a LEFT JOIN cf_row AS b ON a.id = b.n ORDER BY a.id, b.id LIMIT 5;
INSERT INTO cf_row SELECT (cf_make(g)).* FROM generate_series(10, 12) AS g;
INSERT INTO cf_row VALUES (20, 'x', 1), (21, 'y', 2) RETURNING cf_row;
WITH done AS (UPDATE cf_row AS r SET v = cf_describe(r) WHERE r.id IN (1, 2, 20) RETURNING r, r IS NOT NULL) SELECT * FROM done ORDER BY 1;
WITH done AS (UPDATE cf_row AS r SET v = o::text FROM cf_row AS o WHERE o.id = r.n AND r.id > 9 RETURNING r.id, o) SELECT * FROM done ORDER BY 1;
WITH gone AS (DELETE FROM cf_row AS r WHERE r.id >= 20 RETURNING r) SELECT * FROM gone ORDER BY 1;
INSERT INTO cf_row AS r VALUES (1, 'again', 1) ON CONFLICT (id) DO UPDATE SET v = excluded.v || r.v WHERE r.id = 1 RETURNING r;
SELECT count(tableoid) = count(*) AND bool_and(tableoid::regclass::text <> '') FROM cf_row;
SELECT (SELECT r FROM cf_row AS r WHERE id = 3).v;
SELECT * FROM cf_row AS r, LATERAL (SELECT r.id + 1 AS next, r AS whole) AS l WHERE id = 2;
DO $$
DECLARE r cf_row; all_rows cf_row[];
BEGIN
    SELECT * INTO r FROM cf_row WHERE id = 6;
    RAISE NOTICE '% %', r, cf_describe(r);
    r.id := 30; r.v := 'from plpgsql';
    INSERT INTO cf_row VALUES (r.*);
    SELECT array_agg(t ORDER BY t.id) INTO all_rows FROM cf_row AS t WHERE t.id > 8;
    RAISE NOTICE '%', all_rows;
END $$;
\connect - - - :n3
CREATE TEMP TABLE cf_local AS SELECT r, id FROM cf_row AS r;
SELECT (r).v FROM cf_local WHERE id = 30;
SELECT id, v INTO TEMP cf_into FROM cf_row WHERE n = 1;
SELECT * FROM cf_into ORDER BY id;
DROP TABLE cf_local, cf_into;

-- statement triggers: once, with the rows of all nodes
\connect - - - :n1
\if :sharded
SET shardman.broadcast_ddl = on;
\endif
CREATE FUNCTION cf_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE NOTICE '% % %', TG_NAME, TG_WHEN, TG_OP; RETURN NULL; END $$;
CREATE TRIGGER cf_before BEFORE INSERT OR UPDATE OR DELETE ON cf_row FOR EACH STATEMENT EXECUTE FUNCTION cf_note();
CREATE TRIGGER cf_after AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON cf_row FOR EACH STATEMENT EXECUTE FUNCTION cf_note();
CREATE TRIGGER cf_column AFTER UPDATE OF n ON cf_row FOR EACH STATEMENT EXECUTE FUNCTION cf_note();
\connect - - - :n2
INSERT INTO cf_row SELECT g, 'new', 0 FROM generate_series(100, 109) AS g;
INSERT INTO cf_row VALUES (110, 'one', 0);
INSERT INTO cf_row VALUES (110, 'one', 0), (111, 'one', 0) ON CONFLICT (id) DO UPDATE SET v = 'two';
UPDATE cf_row SET v = 'old' WHERE id >= 100;
UPDATE cf_row SET n = 5 WHERE id = 103;
UPDATE cf_row SET n = 5 WHERE false;
DELETE FROM cf_row WHERE id = 104;
DELETE FROM cf_row WHERE id >= 105;
COPY cf_row FROM stdin;
120	copied	1
121	copied	2
122	copied	3
\.
WITH gone AS (DELETE FROM cf_row WHERE id >= 120 RETURNING id) INSERT INTO cf_row SELECT id + 10, 'moved', 0 FROM gone;
DELETE FROM cf_row WHERE id >= 100;
\connect - - - :n3
DROP TRIGGER cf_before ON cf_row;
DROP TRIGGER cf_after ON cf_row;
DROP TRIGGER cf_column ON cf_row;

-- row security that reads settings and other tables, and column privileges
\connect - - - :n1
\if :sharded
SET shardman.broadcast_ddl = on;
\endif
CREATE ROLE cf_alice;
CREATE ROLE cf_bob;
CREATE TABLE cf_member (name text, tenant int, PRIMARY KEY (name, tenant)) :everywhere;
INSERT INTO cf_member VALUES ('cf_alice', 1), ('cf_alice', 2), ('cf_bob', 2);
CREATE TABLE cf_doc (tenant int, id int, secret text, body text, PRIMARY KEY (tenant, id)) :by_tenant;
INSERT INTO cf_doc SELECT t, i, 's' || t || i, 'b' || t || i FROM generate_series(1, 4) AS t, generate_series(1, 2) AS i;
ALTER TABLE cf_doc ENABLE ROW LEVEL SECURITY;
CREATE POLICY cf_member_of ON cf_doc USING (tenant IN (SELECT m.tenant FROM cf_member AS m WHERE m.name = current_user))
  WITH CHECK (EXISTS (SELECT FROM cf_member AS m WHERE m.name = current_user AND m.tenant = cf_doc.tenant) AND body <> 'bad');
CREATE POLICY cf_only ON cf_doc AS RESTRICTIVE FOR SELECT USING (id <= coalesce(NULLIF(current_setting('cf.most', true), ''), '99')::int);
GRANT SELECT ON cf_member TO cf_alice, cf_bob;
GRANT SELECT (tenant, id, body), INSERT (tenant, id, body), UPDATE (body), DELETE ON cf_doc TO cf_alice;
GRANT SELECT, INSERT, UPDATE, DELETE ON cf_doc TO cf_bob;
\connect - - - :n2
SET ROLE cf_alice;
SELECT tenant, id, body FROM cf_doc ORDER BY 1, 2;
SELECT body FROM cf_doc WHERE tenant = 2 AND id = 1;
SELECT body FROM cf_doc WHERE tenant = 3 AND id = 1;
SELECT count(*) FROM cf_doc;
SET cf.most = '1';
SELECT tenant, id, body FROM cf_doc ORDER BY 1, 2;
SELECT tenant, count(*) FROM cf_doc GROUP BY tenant ORDER BY 1;
RESET cf.most;
SELECT secret FROM cf_doc;
SELECT * FROM cf_doc WHERE tenant = 1;
SELECT d FROM cf_doc AS d WHERE tenant = 1;
SELECT id FROM cf_doc WHERE tenant = 1 AND secret = 's11';
INSERT INTO cf_doc (tenant, id, body) VALUES (1, 3, 'new'), (2, 3, 'new');
INSERT INTO cf_doc (tenant, id, body) VALUES (1, 4, 'new') RETURNING secret;
INSERT INTO cf_doc (tenant, id, secret) VALUES (1, 4, 'new');
INSERT INTO cf_doc (tenant, id, body) VALUES (3, 3, 'new');
INSERT INTO cf_doc (tenant, id, body) VALUES (1, 4, 'good'), (3, 4, 'good');
INSERT INTO cf_doc (tenant, id, body) VALUES (1, 5, 'bad');
WITH done AS (UPDATE cf_doc SET body = body || '!' WHERE id = 3 RETURNING tenant, body) SELECT * FROM done ORDER BY 1;
UPDATE cf_doc SET body = 'bad' WHERE tenant = 1 AND id = 1;
UPDATE cf_doc SET secret = 'x' WHERE tenant = 1;
UPDATE cf_doc SET body = secret WHERE tenant = 1;
WITH gone AS (DELETE FROM cf_doc WHERE body = 'new!' RETURNING tenant) SELECT * FROM gone ORDER BY 1;
DELETE FROM cf_doc WHERE tenant = 4;
\connect - - - :n3
SET ROLE cf_bob;
SELECT * FROM cf_doc ORDER BY 1, 2;
UPDATE cf_doc SET tenant = 1 WHERE tenant = 2 AND id = 1;
UPDATE cf_doc SET tenant = 2, secret = 'mine' WHERE tenant = 2 AND id = 2 RETURNING *;
INSERT INTO cf_doc VALUES (2, 9, 'x', 'fine') ON CONFLICT (tenant, id) DO NOTHING RETURNING body;
INSERT INTO cf_doc VALUES (2, 9, 'x', 'fine') ON CONFLICT DO NOTHING RETURNING body;
RESET ROLE;
SELECT * FROM cf_doc ORDER BY 1, 2;
\if :sharded
SET shardman.broadcast_ddl = on;
\endif
ALTER TABLE cf_doc FORCE ROW LEVEL SECURITY;
REVOKE SELECT (body) ON cf_doc FROM cf_alice;
\connect - - - :n1
SET ROLE cf_alice;
SELECT body FROM cf_doc WHERE tenant = 1;
SELECT count(*) FROM cf_doc WHERE tenant = 1;
RESET ROLE;
SELECT has_column_privilege('cf_alice', 'cf_doc', 'body', 'SELECT'), has_column_privilege('cf_alice', 'cf_doc', 'id', 'SELECT'),
       has_any_column_privilege('cf_alice', 'cf_doc', 'UPDATE'), row_security_active('cf_doc');

-- what tools read
\connect - - - :n2
COMMENT ON TABLE cf_main IS 'the main one';
COMMENT ON COLUMN cf_main."Odd name" IS 'it''s odd';
COMMENT ON CONSTRAINT cf_order ON cf_main IS 'in order';
ALTER TABLE cf_main ALTER COLUMN a SET STATISTICS 321, ALTER COLUMN who SET STORAGE EXTERNAL, ALTER COLUMN tags SET COMPRESSION pglz,
  ALTER COLUMN "Odd name" SET STORAGE MAIN, ALTER COLUMN day SET (n_distinct = -0.5);
\connect - - - :n3
SELECT attname, format_type(atttypid, atttypmod) AS type, attnotnull AS nn, attstattarget AS stat, attstorage AS s, attcompression AS c,
       array_to_string(attoptions, ' ') ~ 'n_distinct=-0.5' AS options, attgenerated AS g, attcollation::regcollation, pg_get_expr(adbin, adrelid) AS default,
       col_description(attrelid, attnum) AS comment
  FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
 WHERE attrelid = 'cf_main'::regclass AND attnum > 0 ORDER BY attnum;
SELECT obj_description('cf_main'::regclass, 'pg_class');
SELECT conname, contype, convalidated, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint') FROM pg_constraint
 WHERE conrelid = 'cf_main'::regclass ORDER BY 1;
SELECT column_name, column_default, is_nullable, data_type, domain_name, is_generated, generation_expression
  FROM information_schema.columns WHERE table_name = 'cf_main' ORDER BY ordinal_position;
SELECT grantee, column_name, privilege_type FROM information_schema.column_privileges
 WHERE table_name = 'cf_doc' AND grantee LIKE 'cf\_%' ORDER BY 1, 2, 3;
SELECT polname, polcmd, polpermissive, pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polrelid = 'cf_doc'::regclass ORDER BY 1;

-- tables made of types and tables
\if :sharded
SET shardman.broadcast_ddl = on;
\endif
CREATE TYPE cf_type AS (id int, v text, n int);
CREATE TABLE cf_typed OF cf_type (PRIMARY KEY (id), n WITH OPTIONS DEFAULT 4 CHECK (n > 0)) :by_id;
\connect - - - :n2
INSERT INTO cf_typed (id) VALUES (1), (2), (3);
INSERT INTO cf_typed SELECT (t).* FROM (SELECT ROW(g, 'typed', g)::cf_type AS t FROM generate_series(4, 6) AS g) AS s;
SELECT t, t::cf_type = ROW(5, 'typed', 5)::cf_type AS is_five FROM cf_typed AS t ORDER BY id;
CREATE TABLE cf_like (LIKE cf_main INCLUDING ALL EXCLUDING STATISTICS) :with_it;
\connect - - - :n1
INSERT INTO cf_like (id) VALUES (1), (2), (3);
SELECT id, a, twice, share, code, day, tags, "Odd name" FROM cf_like ORDER BY id;
SELECT col_description('cf_like'::regclass, attnum), attstorage, attcompression FROM pg_attribute
 WHERE attrelid = 'cf_like'::regclass AND attname IN ('Odd name', 'who', 'tags') ORDER BY attname;
SELECT count(*) FROM cf_like JOIN cf_main USING (id) WHERE cf_like.twice = cf_main.twice;
CREATE TEMP TABLE cf_temp (LIKE cf_main INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS);
INSERT INTO cf_temp (id, a) SELECT id, a FROM cf_main;
SELECT count(*), sum(twice) FROM cf_temp;
INSERT INTO cf_main (id, a) SELECT id + 200, a + 300 FROM cf_temp WHERE id < 3;
SELECT id, twice FROM cf_main WHERE id > 200 ORDER BY 1;
DROP TABLE cf_temp;
\if :sharded
SET shardman.broadcast_ddl = on;
\endif
DROP TABLE cf_main, cf_like, cf_doc, cf_member, cf_typed;
DROP TYPE cf_type;
DROP FUNCTION cf_describe, cf_make;
DROP TABLE cf_row;
DROP FUNCTION cf_twice, cf_who, cf_note, cf_error;
DROP DOMAIN cf_percent;
DROP DOMAIN cf_code;
DROP ROLE cf_alice;
DROP ROLE cf_bob;
