-- Cancel and timeout while the other side sleeps; lost connections.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\connect - - - :n2
CREATE VIEW slow AS SELECT 1 AS i, pg_sleep(10)::text AS s;
CREATE VIEW me AS SELECT pg_backend_pid() AS pid;
CREATE TABLE t (id int PRIMARY KEY);
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.id = 666 THEN PERFORM pg_sleep(10); END IF; IF NEW.id = 777 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NEW; END$$;
CREATE CONSTRAINT TRIGGER slowly AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slowly();
\connect - - - :n3
CREATE TABLE t3 (id int PRIMARY KEY);
\connect - - - :n1
CREATE FOREIGN TABLE slow (i int, s text) SERVER s2;
CREATE FOREIGN TABLE me (pid int) SERVER s2;
CREATE FOREIGN TABLE t (id int) SERVER s2;
CREATE FOREIGN TABLE t3 (id int) SERVER s3;
CREATE FOREIGN TABLE act (pid int, state text, query text, application_name text) SERVER s3 OPTIONS (schema_name 'pg_catalog', table_name 'pg_stat_activity');
ALTER SERVER s3 OPTIONS (SET port :'n2'); CREATE FOREIGN TABLE act2 (pid int, state text, query text, application_name text) SERVER s3 OPTIONS (schema_name 'pg_catalog', table_name 'pg_stat_activity');
SELECT pid AS before FROM me \gset
SET statement_timeout = '300ms';
SELECT clock_timestamp() AS t0 \gset
SELECT i, s FROM slow;
SELECT clock_timestamp() - :'t0'::timestamptz < interval '1 second' AS prompt;
RESET statement_timeout;
-- nothing runs on there, and the connection is still the same
SELECT count(*) FROM act2 WHERE query LIKE '%slow' || ' r1%' AND query NOT LIKE '%act%' AND state = 'active';
SELECT pid = :before AS same_session FROM me;
-- in a transaction, with a savepoint
BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; SET LOCAL statement_timeout = '200ms'; SELECT i, s FROM slow; ROLLBACK TO s; INSERT INTO t VALUES (2); COMMIT;
SELECT * FROM t ORDER BY 1;
SET statement_timeout = '200ms';
DO $$BEGIN PERFORM i, s FROM slow; EXCEPTION WHEN query_canceled THEN RAISE NOTICE 'canceled'; PERFORM pg_sleep(0); END$$;
RESET statement_timeout;
-- pg_cancel_backend
SELECT pg_backend_pid() AS mine \gset
\setenv MINE :mine
\! (sleep 0.4; $PSQL -p $N1 -At -c "SELECT pg_cancel_backend($MINE)" >/dev/null) &
SELECT i, s FROM slow;
SELECT count(*) FROM t;
-- while the other side checks a deferred constraint: at PREPARE a cancel rolls back everywhere
ALTER SERVER s3 OPTIONS (SET port :'n3');
\! (sleep 0.4; $PSQL -p $N1 -At -c "SELECT pg_cancel_backend($MINE)" >/dev/null) &
BEGIN; INSERT INTO t VALUES (666); INSERT INTO t3 VALUES (666); COMMIT;
SELECT count(*) FROM t WHERE id = 666; SELECT count(*) FROM t3;
-- the remote backend is killed: in the middle of a transaction, and between two
BEGIN; SELECT count(*) FROM t; SELECT pid AS p FROM me \gset
\setenv P :p
\! $PSQL -p $N2 -At -c "SELECT pg_terminate_backend($P, 1000)" >/dev/null
\set VERBOSITY verbose
SELECT count(*) FROM t;
\set VERBOSITY default
COMMIT;
SELECT count(*) FROM t;
SELECT pid AS p FROM me \gset
\setenv P :p
\! $PSQL -p $N2 -At -c "SELECT pg_terminate_backend($P, 1000)" >/dev/null
SELECT count(*) FROM t;
BEGIN; SAVEPOINT s; SELECT count(*) FROM t; SELECT pid AS p FROM me \gset
\setenv P :p
\! $PSQL -p $N2 -At -c "SELECT pg_terminate_backend($P, 1000)" >/dev/null
INSERT INTO t VALUES (3); ROLLBACK TO s; SELECT 1; COMMIT;
SELECT count(*) FROM t;
-- it dies during the one participant's COMMIT
\set VERBOSITY verbose
INSERT INTO t VALUES (777);
-- and during PREPARE
SET client_min_messages = error;
BEGIN; INSERT INTO t VALUES (777); INSERT INTO t3 VALUES (777); COMMIT;
RESET client_min_messages;
\set VERBOSITY default
SELECT count(*) FROM t WHERE id = 777; SELECT count(*) FROM t3;
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid();
-- a backend is terminated while the other side sleeps: nothing runs on there
\! $PSQL -p $N1 -Atqc "SELECT i, s FROM slow" >/dev/null 2>&1 & sleep 0.4; $PSQL -p $N1 -Atc "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE query LIKE 'SELECT i, s FROM slow%'"
\connect - - - :n2
SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%slow' || ' r1%' AND pid <> pg_backend_pid() AND state = 'active';
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
