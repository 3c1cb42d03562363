-- Conditions that go there, parameters, joins over one connection, rescans,
-- cursors.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\connect - - - :n2
CREATE TABLE a (id int PRIMARY KEY, k int, v text, c text COLLATE "C", ts timestamptz);
INSERT INTO a SELECT i, i % 10, 'v' || i, 'c' || i, '2020-01-01'::timestamptz + i * interval '1 hour' FROM generate_series(1, 5000) i;
CREATE SCHEMA remote;
CREATE TABLE remote."B b" ("The Id" int, "select" text, extra int DEFAULT 7);
INSERT INTO remote."B b" SELECT i, 'b' || i FROM generate_series(1, 3000) i;
\connect - - - :n1
CREATE FOREIGN TABLE a (id int, k int, v text, c text COLLATE "C", ts timestamptz) SERVER s2;
CREATE FOREIGN TABLE b (id int OPTIONS (column_name 'The Id'), txt text OPTIONS (column_name 'select')) SERVER s2 OPTIONS (schema_name 'remote', table_name 'B b', fetch_size '70');
CREATE FUNCTION userfn(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1 LIMIT 1';
EXPLAIN (VERBOSE, COSTS off) SELECT v FROM a WHERE id = 17;
EXPLAIN (VERBOSE, COSTS off) SELECT count(*) FROM a WHERE id < 10 AND userfn(k) = 2 AND v LIKE 'v%' AND c > 'c';
EXPLAIN (VERBOSE, COSTS off) SELECT txt FROM b WHERE id = ANY ('{1,2}') AND upper(txt) = 'B2' AND ctid IS NOT NULL;
EXPLAIN (VERBOSE, COSTS off) SELECT id FROM a WHERE ts > now() AND ts > '2020-01-02 UTC'::timestamptz AND v COLLATE "C" > 'x';
EXPLAIN (VERBOSE, COSTS off) SELECT id FROM a WHERE CASE k WHEN 1 THEN true WHEN 2 THEN id > 5 ELSE false END AND coalesce(v, c) IS NOT NULL FOR UPDATE;
EXPLAIN (VERBOSE, COSTS off) SELECT id FROM a FOR NO KEY UPDATE SKIP LOCKED;
SELECT v FROM a WHERE id = 17;
SELECT count(*) FROM a WHERE id < 10 AND userfn(k) = 2 AND v LIKE 'v%' AND c > 'c';
SELECT txt FROM b WHERE id = ANY ('{1,2}') AND upper(txt) = 'B2' AND ctid IS NOT NULL;
SELECT count(*), sum(id) FROM a WHERE CASE k WHEN 1 THEN true WHEN 2 THEN id > 5 ELSE false END;
SELECT ctid, tableoid::regclass, id FROM a WHERE id = 1;
SELECT xmin, cmax, id FROM a WHERE id = 1;
SELECT a FROM a WHERE id = 2;
SELECT count(*) FROM a;
-- floats and dates in conditions are exact whatever the session shows
SET extra_float_digits = -10; SET datestyle = 'SQL, DMY';
EXPLAIN (VERBOSE, COSTS off) SELECT 1 FROM a WHERE id > 0.1::float8 + 0.2::float8 AND ts > '2020-03-02 00:00+00';
RESET extra_float_digits; RESET datestyle;
-- parameters, custom and generic plans
PREPARE p(int, text) AS SELECT v FROM a WHERE id = $1 AND v >= $2;
EXECUTE p(5, 'v'); EXECUTE p(NULL, 'v');
SET plan_cache_mode = force_generic_plan;
EXPLAIN (VERBOSE, COSTS off) EXECUTE p(6, 'v');
EXECUTE p(6, 'v'); EXECUTE p(7, 'z'); EXECUTE p(8, 'v');
RESET plan_cache_mode;
-- a parameter's own error keeps its fields
CREATE TABLE uq (i int CONSTRAINT uq_i UNIQUE); INSERT INTO uq VALUES (1);
CREATE FUNCTION violates() RETURNS int LANGUAGE plpgsql AS $$BEGIN INSERT INTO uq VALUES (1); RETURN 1; END$$;
\set VERBOSITY verbose
\set SHOW_CONTEXT always
DO $$DECLARE c text; x text; BEGIN PERFORM * FROM a WHERE id = (SELECT violates());
EXCEPTION WHEN unique_violation THEN GET STACKED DIAGNOSTICS c = CONSTRAINT_NAME, x = PG_EXCEPTION_CONTEXT; RAISE NOTICE 'constraint % %', c, x LIKE '%violates()%'; END$$;
\set VERBOSITY default
\set SHOW_CONTEXT errors
-- two scans on one connection, both past their first chunk
SELECT count(*), sum(a.id) FROM a JOIN b ON a.id = b.id;
SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off;
EXPLAIN (COSTS off) SELECT count(*) FROM a x JOIN b ON x.id = b.id WHERE x.id <= 20;
SELECT count(*), sum(b.id) FROM a x JOIN b ON x.id = b.id WHERE x.id <= 20;
SELECT x.id, (SELECT count(*) FROM b WHERE b.id <= x.id) FROM a x WHERE x.id BETWEEN 150 AND 153 ORDER BY 1;
SELECT count(*) FROM generate_series(1, 300) g, LATERAL (SELECT v FROM a WHERE a.id = g LIMIT 1) l;
SELECT count(*) FROM (VALUES (1), (2), (3)) g(i), LATERAL (SELECT * FROM a OFFSET 4000 + g.i) l;
RESET enable_hashjoin; RESET enable_mergejoin; RESET enable_material;
SET enable_hashjoin = off; SET enable_nestloop = off;
SELECT count(*) FROM a JOIN b USING (id);
RESET enable_hashjoin; RESET enable_nestloop;
SELECT count(*) FROM (SELECT * FROM a UNION ALL SELECT id, 0, txt, NULL, NULL FROM b) u;
-- cursors, half read, interleaved, scrolled
BEGIN;
DECLARE c1 CURSOR FOR SELECT id FROM a ORDER BY id;
DECLARE c2 CURSOR FOR SELECT id FROM b;
FETCH 2 FROM c1; FETCH 3 FROM c2; MOVE 500 IN c2; FETCH 1 FROM c2; FETCH 1 FROM c1;
SAVEPOINT s; MOVE 1000 IN c2; SELECT 1/0; ROLLBACK TO s;
FETCH 1 FROM c2;
DECLARE c3 SCROLL CURSOR FOR SELECT id FROM b WHERE id < 5; FETCH LAST FROM c3; FETCH FIRST FROM c3;
DECLARE c4 CURSOR WITH HOLD FOR SELECT id FROM b WHERE id < 300; FETCH 1 FROM c4;
COMMIT;
MOVE 200 IN c4; FETCH 1 FROM c4; CLOSE c4;
SELECT id FROM a LIMIT 1;
ANALYZE a;
SELECT reltuples, relpages > 0 FROM pg_class WHERE relname = 'a' AND relkind = 'f';
SELECT n_distinct FROM pg_stats WHERE tablename = 'a' AND attname = 'k';
CREATE FUNCTION estimate(query text) RETURNS int LANGUAGE plpgsql AS $$DECLARE plan json; BEGIN EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan; RETURN plan -> 0 -> 'Plan' ->> 'Plan Rows'; END$$;
SELECT estimate('SELECT * FROM a WHERE k = 3') BETWEEN 400 AND 600 AS is_near;
-- errors of the other side keep their fields
\connect - - - :n2
ALTER TABLE a RENAME COLUMN v TO w;
\connect - - - :n1
SELECT v FROM a WHERE id = 1;
\connect - - - :n2
ALTER TABLE a RENAME COLUMN w TO v;
\connect - - - :n1
SELECT v FROM a WHERE id = 1;
-- the table changes its type while the statement is prepared there
SELECT k FROM a WHERE id = 3;
\! $PSQL -p $N2 -c 'ALTER TABLE a ALTER k TYPE bigint'
SELECT k FROM a WHERE id = 3;
SELECT k FROM a WHERE id = 3;
ALTER FOREIGN TABLE a ALTER k TYPE bigint;
SELECT k FROM a WHERE id = 3;
-- clean up
\set VERBOSITY default
\connect - - - :n3
SET client_min_messages = warning;
DROP SCHEMA public CASCADE; CREATE SCHEMA public;
\connect - - - :n2
SET client_min_messages = warning;
DROP SCHEMA public CASCADE; CREATE SCHEMA public;
DROP SCHEMA remote CASCADE;
\connect - - - :n1
SET client_min_messages = warning;
DROP SCHEMA public CASCADE; CREATE SCHEMA public;
