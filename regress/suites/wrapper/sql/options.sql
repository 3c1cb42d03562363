-- Options, mappings, and who may connect.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
CREATE SERVER x FOREIGN DATA WRAPPER shardman_fdw OPTIONS (hosst 'a');
CREATE SERVER x FOREIGN DATA WRAPPER shardman_fdw OPTIONS (user 'a');
CREATE SERVER x FOREIGN DATA WRAPPER shardman_fdw OPTIONS (port '0');
CREATE SERVER x FOREIGN DATA WRAPPER shardman_fdw OPTIONS (updatable 'perhaps');
CREATE SERVER x FOREIGN DATA WRAPPER shardman_fdw OPTIONS (fdw_tuple_cost '-1');
CREATE FOREIGN DATA WRAPPER w2 HANDLER shardman.fdw_handler VALIDATOR shardman.fdw_validator OPTIONS (a '1');
CREATE SERVER gone FOREIGN DATA WRAPPER shardman_fdw OPTIONS (host '127.0.0.1', port '1');
CREATE USER MAPPING FOR postgres SERVER gone;
CREATE FOREIGN TABLE g (i int) SERVER gone;
\set VERBOSITY verbose
SELECT * FROM g;
\set VERBOSITY default
\connect - - - :n2
SET client_min_messages = warning;
SET password_encryption = 'scram-sha-256'; DROP ROLE IF EXISTS scramuser; CREATE ROLE scramuser LOGIN PASSWORD 'sécret';
SET password_encryption = 'md5'; DROP ROLE IF EXISTS md5user; CREATE ROLE md5user LOGIN PASSWORD 'md5secret';
CREATE TABLE t1 (i int); INSERT INTO t1 VALUES (1); GRANT SELECT ON t1 TO PUBLIC; GRANT USAGE ON SCHEMA public TO PUBLIC;
\connect - - - :n1
SET client_min_messages = warning; DROP ROLE IF EXISTS plain; RESET client_min_messages; CREATE ROLE plain LOGIN;
CREATE FOREIGN TABLE t1 (i int) SERVER s2; GRANT SELECT ON t1 TO plain; GRANT USAGE ON SCHEMA public TO plain;
SET ROLE plain;
SELECT * FROM t1;
RESET ROLE;
CREATE USER MAPPING FOR plain SERVER s2;
SET ROLE plain;
SELECT * FROM t1;
RESET ROLE;
ALTER USER MAPPING FOR plain SERVER s2 OPTIONS (user 'postgres', password 'x');
SET ROLE plain;
SELECT * FROM t1;
RESET ROLE;
ALTER USER MAPPING FOR plain SERVER s2 OPTIONS (SET user 'scramuser', SET password 'wrong');
SET ROLE plain; SELECT * FROM t1; RESET ROLE;
ALTER USER MAPPING FOR plain SERVER s2 OPTIONS (SET password 'sécret');
SET ROLE plain; SELECT * FROM t1; RESET ROLE;
ALTER USER MAPPING FOR plain SERVER s2 OPTIONS (SET user 'md5user', SET password 'md5secret');
SET ROLE plain; SELECT * FROM t1; RESET ROLE;
GRANT USAGE ON FOREIGN SERVER s2 TO plain;
DROP USER MAPPING FOR plain SERVER s2;
SET ROLE plain;
CREATE USER MAPPING FOR plain SERVER s2 OPTIONS (password_required 'false');
RESET ROLE;
ALTER SERVER s2 OPTIONS (ADD updatable 'off');
INSERT INTO t1 VALUES (1);
ALTER FOREIGN TABLE t1 OPTIONS (updatable 'on', truncatable 'off');
INSERT INTO t1 VALUES (2); TRUNCATE t1;
SELECT * FROM t1 ORDER BY i;
ALTER SERVER s2 OPTIONS (DROP updatable);
-- a Unix socket
ALTER SERVER s2 OPTIONS (SET host '/nonexistent');
SELECT * FROM t1;
ALTER SERVER s2 OPTIONS (SET host '127.0.0.1', ADD application_name 'who is it');
SELECT * FROM t1 ORDER BY i;
CREATE FOREIGN TABLE act (application_name text) SERVER s2 OPTIONS (schema_name 'pg_catalog', table_name 'pg_stat_activity');
SELECT application_name FROM act WHERE application_name LIKE 'who%';
-- clean up
\set VERBOSITY default
\connect - - - :n3
SET client_min_messages = warning;
DROP SCHEMA public CASCADE; CREATE SCHEMA public;
\connect - - - :n2
SET client_min_messages = warning;
DROP SCHEMA public CASCADE; CREATE SCHEMA public;
DROP ROLE scramuser, md5user;
\connect - - - :n1
SET client_min_messages = warning;
DROP SCHEMA public CASCADE; CREATE SCHEMA public;
DROP SERVER gone CASCADE; ALTER SERVER s2 OPTIONS (DROP application_name);
DROP OWNED BY plain; DROP ROLE plain;
-- options of postgres_fdw that this wrapper has not, or that stand in the wrong place
ALTER SERVER s3 OPTIONS (ADD extensions 'citext, 3');
ALTER SERVER s3 OPTIONS (ADD service 'db');
ALTER SERVER s3 OPTIONS (ADD sslkey 'key');
ALTER SERVER s3 OPTIONS (ADD sslmode 'require');
ALTER SERVER s3 OPTIONS (ADD column_name 'x');
ALTER SERVER s3 OPTIONS (ADD keep_conections 'off');
ALTER SERVER s3 OPTIONS (ADD sslmode 'prefer', ADD parallel_commit 'off', ADD use_remote_estimate 'on');
SELECT option, command, takes, default_value FROM shardman.wrapper_options() WHERE option ~ '^(port|sslmode|fetch)' ORDER BY 1, 2;
-- sessions: those that are open, those that stay, what they are told
CREATE FOREIGN TABLE op_settings (name text, setting text) SERVER s3 OPTIONS (schema_name 'pg_catalog', table_name 'pg_settings');
SELECT shardman.disconnect_all();
SELECT setting FROM op_settings WHERE name = 'work_mem';
SELECT * FROM shardman.connections();
ALTER SERVER s3 OPTIONS (ADD options '-c work_mem=1234kB', ADD hostaddr '127.0.0.1', SET host 'nowhere.invalid');
SELECT server_name, valid FROM shardman.connections();
SELECT setting FROM op_settings WHERE name = 'work_mem';
BEGIN;
SELECT count(*) FROM op_settings WHERE name = 'work_mem';
SELECT * FROM shardman.connections();
SELECT shardman.disconnect('s3');
COMMIT;
SELECT shardman.disconnect('s2');
SELECT shardman.disconnect('s3');
SELECT * FROM shardman.connections();
ALTER SERVER s3 OPTIONS (ADD keep_connections 'off');
SELECT count(*) FROM op_settings WHERE name = 'work_mem';
SELECT * FROM shardman.connections();
DROP FOREIGN TABLE op_settings;
ALTER SERVER s3 OPTIONS (DROP options, DROP hostaddr, SET host '127.0.0.1', DROP keep_connections, DROP sslmode, DROP parallel_commit, DROP use_remote_estimate);
