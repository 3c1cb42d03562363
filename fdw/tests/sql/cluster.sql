-- Cluster mode, with a stand-in for the shard map (settings of the test build):
-- leaves of the same name, the effective user, the search path, the handshake.
\c - - - :n2port
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS shardman; DROP ROLE IF EXISTS app; CREATE ROLE app; CREATE SCHEMA shop;
CREATE TABLE shardman_data.t_1 (id int PRIMARY KEY, v text COLLATE "C", d text);
CREATE VIEW shardman_data.ctx AS SELECT current_setting('shardman.effective_user', true) AS u, current_setting('search_path') AS p, pg_backend_pid() AS pid;
\c - - - :n3port
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS shardman; DROP ROLE IF EXISTS app; CREATE ROLE app; CREATE SCHEMA shop;
CREATE TABLE shardman_data.t_2 (id int PRIMARY KEY, v text COLLATE "C", d text);
\c - - - :n1port
SET client_min_messages = warning; DROP ROLE IF EXISTS app; RESET client_min_messages; CREATE ROLE app; CREATE SCHEMA shop; GRANT USAGE ON SCHEMA shop, shardman_remote TO app;
CREATE SERVER shardman FOREIGN DATA WRAPPER shardman_fdw;
SELECT set_config('shardman.test_nodes', format('2:n2:127.0.0.1:%s:postgres:postgres,3:n3:127.0.0.1:%s:postgres:postgres,4:n4:127.0.0.1:%s:postgres:postgres', :n2port, :n3port, :n2port), false) IS NOT NULL;
SET shardman.test_leaves = 't_1:2,t_2:3,ctx:2,lost:9,other:4';
CREATE TABLE shop.t (id int, v text COLLATE "C", d text) PARTITION BY HASH (id);
CREATE TABLE shardman_data.t_0 PARTITION OF shop.t FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE FOREIGN TABLE shardman_remote.t_1 PARTITION OF shop.t FOR VALUES WITH (MODULUS 3, REMAINDER 1) SERVER shardman;
CREATE FOREIGN TABLE shardman_remote.t_2 PARTITION OF shop.t FOR VALUES WITH (MODULUS 3, REMAINDER 2) SERVER shardman;
CREATE FOREIGN TABLE shardman_remote.ctx (u text, p text, pid int) SERVER shardman;
CREATE FOREIGN TABLE shardman_remote.lost (i int) SERVER shardman;
CREATE FOREIGN TABLE shardman_remote.other (i int) SERVER shardman;
GRANT ALL ON shop.t, shardman_remote.ctx TO app;
EXPLAIN (VERBOSE, COSTS off) SELECT v FROM shop.t WHERE id = 3 AND lower(d) = 'x' AND v > 'a' AND 'x' || 'y' = lower($$X$$ || d);
EXPLAIN (VERBOSE, COSTS off) SELECT ctid, * FROM shop.t x WHERE x.id IN (3, 4) FOR UPDATE OF x NOWAIT;
EXPLAIN (VERBOSE, COSTS off) UPDATE shop.t SET v = 'u' WHERE id < 5;
EXPLAIN (VERBOSE, COSTS off) INSERT INTO shop.t VALUES (1);
INSERT INTO shop.t SELECT i, 'v' || i, 'D' || i FROM generate_series(1, 3000) i;
SELECT tableoid::regclass, count(*) FROM shop.t GROUP BY tableoid ORDER BY tableoid::regclass::text;
SELECT * FROM shop.t WHERE id IN (1, 2, 3, 4, 5) AND lower(d) <> 'd4' ORDER BY id;
UPDATE shop.t SET v = v || '!' WHERE id < 4 RETURNING tableoid::regclass, *;
DELETE FROM shop.t WHERE id < 3 RETURNING id;
COPY shop.t FROM stdin;
9001	a	b
9002	a	b
9003	a	b
9004	a	b
\.
SELECT count(*), array_agg(tableoid::regclass ORDER BY id) FROM shop.t WHERE id > 9000;
PREPARE pq(int) AS SELECT id, v FROM shop.t WHERE id = $1;
EXECUTE pq(10); EXECUTE pq(11); EXECUTE pq(12); EXECUTE pq(13); EXECUTE pq(14); EXECUTE pq(15); EXECUTE pq(16);
SET plan_cache_mode = force_generic_plan; EXECUTE pq(10); EXECUTE pq(11); EXECUTE pq(12); RESET plan_cache_mode;
-- who and where
SELECT u, p FROM shardman_remote.ctx;
SET search_path = shop, "Wei""rd; DROP", pg_catalog; SELECT u, p FROM shardman_remote.ctx;
SELECT set_config('search_path', 'a;b''c', false); SELECT u, p FROM shardman_remote.ctx; RESET search_path;
SET search_path = ''; SELECT u, p FROM shardman_remote.ctx; RESET search_path;
BEGIN; SELECT u, pid AS pid1 FROM shardman_remote.ctx \gset
SET ROLE app; SELECT u, pid = :pid1 AS same FROM shardman_remote.ctx;
SAVEPOINT s; RESET ROLE; SELECT u FROM shardman_remote.ctx; ROLLBACK TO s; SELECT current_user, u FROM shardman_remote.ctx;
RESET ROLE; SELECT u FROM shardman_remote.ctx; COMMIT;
CREATE FUNCTION definer() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT u || '' '' || p FROM shardman_remote.ctx';
GRANT USAGE ON SCHEMA public TO app; SET ROLE app; SELECT u, public.definer() FROM shardman_remote.ctx; RESET ROLE;
-- a user's own function of the same name as a built-in one
CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'mine'::text$$;
SET search_path = public, pg_catalog;
EXPLAIN (VERBOSE, COSTS off) SELECT id FROM shardman_remote.t_1 WHERE pg_catalog.lower(d) = 'd10';
SELECT id FROM shop.t WHERE pg_catalog.lower(d) = 'd10';
RESET search_path; DROP FUNCTION public.lower(text);
SELECT * FROM shardman_remote.lost;
SELECT * FROM shardman_remote.other;
-- the session API
SELECT shardman.test_execute('{2,3}', 'CREATE TABLE shop.x (i int); INSERT INTO shop.x VALUES (1)');
SELECT shardman.test_query(2, 'SELECT i + $1, NULL FROM shop.x WHERE $2::text IS NULL', '{41,NULL}');
BEGIN; SELECT shardman.test_execute('{2,3}', 'INSERT INTO shop.x VALUES (2)'); SELECT shardman.test_query(3, 'SELECT count(*) FROM shop.x', '{}'); ROLLBACK;
SELECT shardman.test_query(3, 'SELECT count(*) FROM shop.x', '{}');
BEGIN; INSERT INTO shop.t VALUES (20001), (20002), (20003), (20004), (20005), (20006); SELECT shardman.test_execute('{2,3}', 'DROP TABLE shop.x'); COMMIT;
SELECT count(*) FROM shop.t WHERE id > 20000;
SELECT shardman.test_query(2, 'SELECT count(*) FROM pg_prepared_xacts', '{}');
SELECT shardman.test_execute('{2,3}', 'DROP SCHEMA shop; DROP EXTENSION shardman CASCADE');
