-- Savepoints, errors in exception blocks, one- and two-phase commit.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\connect - - - :n2
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE def (id int PRIMARY KEY, pid int REFERENCES t DEFERRABLE INITIALLY DEFERRED);
\connect - - - :n3
CREATE TABLE t3 (id int PRIMARY KEY, v text);
CREATE TABLE def3 (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
\connect - - - :n1
CREATE TABLE l (id int PRIMARY KEY);
CREATE FOREIGN TABLE t (id int, v text) SERVER s2;
CREATE FOREIGN TABLE def (id int, pid int) SERVER s2;
CREATE FOREIGN TABLE t3 (id int, v text) SERVER s3;
CREATE FOREIGN TABLE def3 (id int) SERVER s3;
CREATE FOREIGN TABLE px2 (gid text) SERVER s2 OPTIONS (schema_name 'pg_catalog', table_name 'pg_prepared_xacts');
CREATE FOREIGN TABLE px3 (gid text) SERVER s3 OPTIONS (schema_name 'pg_catalog', table_name 'pg_prepared_xacts');
CREATE VIEW state AS SELECT (SELECT array_agg(id ORDER BY id) FROM t) t, (SELECT array_agg(id ORDER BY id) FROM t3) t3,
  (SELECT array_agg(id ORDER BY id) FROM l) l, (SELECT count(*) FROM px2) + (SELECT count(*) FROM px3) prepared;
-- savepoints
BEGIN; INSERT INTO t VALUES (1);
SAVEPOINT a; INSERT INTO t VALUES (2); INSERT INTO t3 VALUES (2);
SAVEPOINT b; INSERT INTO t VALUES (3); ROLLBACK TO b; INSERT INTO t VALUES (4); RELEASE b;
SAVEPOINT c; INSERT INTO t VALUES (1); ROLLBACK TO c;
SELECT count(*) FROM t; ROLLBACK TO a; INSERT INTO t VALUES (5); COMMIT;
SELECT * FROM state;
-- exception blocks
DO $$BEGIN
  FOR i IN 1..12 LOOP
    BEGIN INSERT INTO t VALUES (i); EXCEPTION WHEN unique_violation THEN INSERT INTO t3 VALUES (i); END;
  END LOOP;
END$$;
SELECT * FROM state;
DO $$DECLARE c text; tb text; m text; BEGIN INSERT INTO t VALUES (1);
EXCEPTION WHEN unique_violation THEN GET STACKED DIAGNOSTICS c = CONSTRAINT_NAME, tb = TABLE_NAME, m = PG_EXCEPTION_DETAIL; RAISE NOTICE '% % %', c, tb, m; END$$;
-- a scan goes on around errors in its loop's body
DO $$DECLARE n int := 0; r record; BEGIN
  FOR r IN SELECT g, t.id FROM t, generate_series(1, 100) g LOOP
    n := n + 1;
    IF n % 211 = 0 THEN BEGIN INSERT INTO t VALUES (1); EXCEPTION WHEN unique_violation THEN NULL; END; END IF;
  END LOOP; RAISE NOTICE '% rows', n; END$$;
-- two phases
TRUNCATE t, t3 CASCADE;
BEGIN; INSERT INTO t VALUES (1); INSERT INTO t3 VALUES (1); COMMIT; SELECT * FROM state;
BEGIN; INSERT INTO t VALUES (2); INSERT INTO l VALUES (2); COMMIT; SELECT * FROM state;
BEGIN; INSERT INTO t VALUES (3); INSERT INTO t3 VALUES (3); ROLLBACK; SELECT * FROM state;
-- a PREPARE fails: nothing is left anywhere
\set SHOW_CONTEXT never
BEGIN; INSERT INTO t3 VALUES (4); INSERT INTO def VALUES (4, 999); INSERT INTO l VALUES (4); COMMIT; SELECT * FROM state;
BEGIN; INSERT INTO t VALUES (4); INSERT INTO def3 VALUES (4), (4); COMMIT; SELECT * FROM state;
\set SHOW_CONTEXT errors
-- a single writer's deferred constraint fails at its COMMIT
INSERT INTO def VALUES (5, 998); SELECT * FROM state;
-- failing locally after the remote part
CREATE FUNCTION dt() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'deferred, here'; END$$;
CREATE CONSTRAINT TRIGGER dt AFTER INSERT ON l DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dt();
BEGIN; INSERT INTO t VALUES (6); INSERT INTO l VALUES (6); COMMIT; SELECT * FROM state;
DROP TRIGGER dt ON l;
-- a subtransaction that wrote was rolled back; reading only
BEGIN; SELECT count(*) FROM t; SELECT count(*) FROM t3; COMMIT;
BEGIN; SAVEPOINT x; INSERT INTO t VALUES (7); INSERT INTO t3 VALUES (7); ROLLBACK TO x; COMMIT; SELECT * FROM state;
-- PREPARE TRANSACTION by the user
BEGIN; SELECT count(*) FROM t; PREPARE TRANSACTION 'mine';
SELECT * FROM state;
-- isolation is mirrored
CREATE FOREIGN TABLE iso (name text, setting text) SERVER s2 OPTIONS (schema_name 'pg_catalog', table_name 'pg_settings');
SELECT setting FROM iso WHERE name = 'transaction_isolation';
BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT setting FROM iso WHERE name = 'transaction_isolation';
\! $PSQL -p $N2 -c "INSERT INTO t VALUES (77)"
SELECT count(*) FROM t WHERE id = 77; COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT setting FROM iso WHERE name = 'transaction_isolation'; INSERT INTO t VALUES (78); SELECT count(*) FROM t3; COMMIT;
BEGIN; SELECT count(*) FROM t WHERE id = 79;
\! $PSQL -p $N2 -c "INSERT INTO t VALUES (79)"
SELECT count(*) FROM t WHERE id = 79; COMMIT;
-- an error, then ROLLBACK TO, then the same statement again
BEGIN; SAVEPOINT s; SELECT id FROM t WHERE id = 1; INSERT INTO t VALUES (1); ROLLBACK TO s; SELECT id FROM t WHERE id = 1; INSERT INTO t VALUES (80); COMMIT;
SELECT * FROM state;
-- a long scan, its next chunk always on the way, around errors on its session
\! $PSQL -p $N2 -c "CREATE TABLE long AS SELECT i, repeat('x', 50) AS x FROM generate_series(1, 100000) i"
CREATE FOREIGN TABLE long (i int, x text) SERVER s2;
DO $$DECLARE n bigint := 0; s bigint := 0; r record; BEGIN
  FOR r IN SELECT i, x FROM long LOOP
    n := n + 1; s := s + r.i;
    IF n % 7001 = 0 THEN BEGIN INSERT INTO t VALUES (1); EXCEPTION WHEN unique_violation THEN NULL; END; END IF;
    IF n % 9001 = 0 THEN BEGIN PERFORM count(*) FROM long l2 WHERE l2.i <= n; RAISE EXCEPTION 'x'; EXCEPTION WHEN raise_exception THEN NULL; END; END IF;
    IF n % 12001 = 0 THEN BEGIN PERFORM * FROM long l2 LIMIT 5000; INSERT INTO t3 VALUES (n); END; END IF;
  END LOOP; RAISE NOTICE '% rows, sum %', n, s; END$$;
SELECT count(*) FROM t3;
-- clean up
\set VERBOSITY default
\connect - - - :n3
SET client_min_messages = warning;
DROP SCHEMA public CASCADE; CREATE SCHEMA public;
\connect - - - :n2
SET client_min_messages = warning;
DROP SCHEMA public CASCADE; CREATE SCHEMA public;
\connect - - - :n1
SET client_min_messages = warning;
DROP SCHEMA public CASCADE; CREATE SCHEMA public;
