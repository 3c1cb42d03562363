-- What cannot be done is refused with SQLSTATE, detail and hint, on every node,
-- and leaves nothing behind.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\set SHOW_CONTEXT never
SET client_min_messages = notice;
-- The options.
CREATE TABLE no (id int) WITH (num_parts = 3);
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (colocate_with = 'x');
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (distributed_by);
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (distributed_by = '');
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (distributed_by = 'id,');
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (distributed_by = 'lower(id)');
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (distributed_by = 'id, id');
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (distributed_by = 'id', distributed_by = 'id');
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (distributed_by = 'id', num_parts = 0);
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (distributed_by = 'id', num_parts = 1025);
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (distributed_by = 'id', num_parts = -3);
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (distributed_by = 'id', num_parts = 'many');
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (distributed_by = 'id', fillfactor = 7);
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (distributed_by = 'id', fillfaktor = 70);
\echo :SQLSTATE
-- Distribution columns.
CREATE TABLE no (id int) WITH (distributed_by = 'nope');
\echo :SQLSTATE
CREATE TABLE no (id int, p point) WITH (distributed_by = 'p');
\echo :SQLSTATE
CREATE TABLE no (id int, r regclass) WITH (distributed_by = 'r');
\echo :SQLSTATE
CREATE TABLE no (id int, r regtype[]) WITH (distributed_by = 'r');
\echo :SQLSTATE
CREATE TYPE mood AS ENUM ('sad', 'glad');
\echo :SQLSTATE
CREATE DOMAIN my_mood AS mood;
\echo :SQLSTATE
CREATE TYPE with_mood AS (i int, m mood);
\echo :SQLSTATE
CREATE TABLE no (id int, m mood) WITH (distributed_by = 'm');
\echo :SQLSTATE
CREATE TABLE no (id int, m my_mood) WITH (distributed_by = 'm');
\echo :SQLSTATE
CREATE TABLE no (id int, m mood[]) WITH (distributed_by = 'm');
\echo :SQLSTATE
CREATE TABLE no (id int, m with_mood) WITH (distributed_by = 'm');
\echo :SQLSTATE
DROP TYPE with_mood;
\echo :SQLSTATE
DROP DOMAIN my_mood;
\echo :SQLSTATE
DROP TYPE mood;
\echo :SQLSTATE
-- Colocation.
CREATE TABLE plain (id int);
\echo :SQLSTATE
CREATE TABLE root (id int) WITH (distributed_by = 'id', num_parts = 6);
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (distributed_by = 'id', colocate_with = 'nowhere');
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (distributed_by = 'id', colocate_with = 'a.b.c');
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (distributed_by = 'id', colocate_with = 'plain');
\echo :SQLSTATE
CREATE TABLE no (id int) WITH (distributed_by = 'id', colocate_with = 'root', num_parts = 5);
\echo :SQLSTATE
CREATE TABLE no (id bigint) WITH (distributed_by = 'id', colocate_with = 'root');
\echo :SQLSTATE
CREATE TABLE no (a int, b int) WITH (distributed_by = 'a, b', colocate_with = 'root');
\echo :SQLSTATE
-- Keys.
CREATE TABLE no (id int PRIMARY KEY, k int) WITH (distributed_by = 'k');
\echo :SQLSTATE
CREATE TABLE no (id int, k int, UNIQUE (id)) WITH (distributed_by = 'k');
\echo :SQLSTATE
CREATE TABLE no (a int, b int, c int, PRIMARY KEY (a, c)) WITH (distributed_by = 'a, b');
\echo :SQLSTATE
CREATE TABLE no (id int REFERENCES root) WITH (distributed_by = 'id');
\echo :SQLSTATE
CREATE TABLE referenced (id int PRIMARY KEY);
\echo :SQLSTATE
CREATE TABLE no (id int REFERENCES referenced) WITH (distributed_by = 'id');
\echo :SQLSTATE
-- Kinds of tables.
CREATE TEMP TABLE no (id int) WITH (distributed_by = 'id');
\echo :SQLSTATE
CREATE TABLE pg_temp.no (id int) WITH (distributed_by = 'id');
\echo :SQLSTATE
CREATE UNLOGGED TABLE no (id int) WITH (distributed_by = 'id');
\echo :SQLSTATE
CREATE SEQUENCE one_node;
CREATE TABLE no (id int DEFAULT nextval('one_node')) WITH (distributed_by = 'id');
\echo :SQLSTATE
DROP SEQUENCE one_node;
CREATE TABLE no (x int) INHERITS (plain) WITH (distributed_by = 'x');
\echo :SQLSTATE
CREATE TABLE no (id int, k int) PARTITION BY HASH (k) WITH (distributed_by = 'id');
\echo :SQLSTATE
CREATE TABLE no (id int) PARTITION BY RANGE (id) WITH (distributed_by = 'id');
\echo :SQLSTATE
-- Names.
CREATE TABLE root (id int) WITH (distributed_by = 'id');
\echo :SQLSTATE
CREATE TABLE IF NOT EXISTS root (id int) WITH (distributed_by = 'id');
\echo :SQLSTATE
CREATE TABLE shardman_data.no (id int);
\echo :SQLSTATE
CREATE TABLE shardman_remote.no (id int) WITH (distributed_by = 'id');
\echo :SQLSTATE
-- What cannot be the same on every node.
ALTER TABLE root DETACH PARTITION shardman_data.shard_1_root_0;
\echo :SQLSTATE
CREATE TABLE no PARTITION OF root FOR VALUES WITH (MODULUS 6, REMAINDER 0);
\echo :SQLSTATE
CREATE RULE no AS ON INSERT TO root DO INSTEAD NOTHING;
\echo :SQLSTATE
CREATE INDEX CONCURRENTLY ON ONLY root (id);
\echo :SQLSTATE
CREATE UNIQUE INDEX ON root ((id + 1));
\echo :SQLSTATE
-- Leaves by hand. Their names hold the table id, which other files move.
\set VERBOSITY sqlstate
SELECT relname AS leaf FROM pg_class WHERE relname ~ '^shard_\d+_root_0$' \gset
SELECT relnamespace::regnamespace AS leaf_schema FROM pg_class WHERE relname = :'leaf' \gset
INSERT INTO :leaf_schema.:leaf VALUES (1);
\echo :SQLSTATE
UPDATE :leaf_schema.:leaf SET id = 2;
\echo :SQLSTATE
DELETE FROM :leaf_schema.:leaf;
\echo :SQLSTATE
WITH gone AS (DELETE FROM :leaf_schema.:leaf RETURNING *) SELECT * FROM gone;
\echo :SQLSTATE
COPY :leaf_schema.:leaf FROM '/dev/null';
\echo :SQLSTATE
TRUNCATE :leaf_schema.:leaf;
\echo :SQLSTATE
ALTER TABLE :leaf_schema.:leaf ADD COLUMN v text;
\echo :SQLSTATE
ALTER TABLE :leaf_schema.:leaf RENAME TO x;
\echo :SQLSTATE
DROP TABLE :leaf_schema.:leaf;
\echo :SQLSTATE
CREATE INDEX ON :leaf_schema.:leaf (id);
\echo :SQLSTATE
CREATE TABLE child () INHERITS (:leaf_schema.:leaf);
\echo :SQLSTATE
DO $$ BEGIN EXECUTE format('INSERT INTO %s VALUES (1)', (SELECT min(oid::regclass::text) FROM pg_class WHERE relname ~ '^shard_\d+_root_0$')); END $$;
\echo :SQLSTATE
-- A sharded table goes by its own DROP TABLE only.
CREATE SCHEMA holds;
\echo :SQLSTATE
\connect - - - :n2
CREATE SCHEMA holds;
\echo :SQLSTATE
\connect - - - :n3
CREATE SCHEMA holds;
\echo :SQLSTATE
CREATE TABLE holds.held (id int) WITH (distributed_by = 'id', num_parts = 3);
\echo :SQLSTATE
SET client_min_messages = warning;
DROP SCHEMA holds CASCADE;
\echo :SQLSTATE
DROP TABLE holds.held;
\echo :SQLSTATE
DROP SCHEMA holds;
\echo :SQLSTATE
\connect - - - :n1
DROP SCHEMA holds;
\echo :SQLSTATE
\connect - - - :n2
DROP SCHEMA holds;
\echo :SQLSTATE
-- A namesake or a missing schema on another node: nothing is made anywhere.
CREATE TABLE namesake (id int);
CREATE SCHEMA only_here;
\connect - - - :n1
\set VERBOSITY sqlstate
CREATE TABLE namesake (id int) WITH (distributed_by = 'id', num_parts = 3);
SELECT to_regclass('namesake');
\connect - - - :n2
CREATE TABLE only_here.t (id int) WITH (distributed_by = 'id', num_parts = 3);
SELECT to_regclass('only_here.t');
DROP TABLE namesake;
DROP SCHEMA only_here;
-- Membership.
SELECT shardman.create_cluster('host=127.0.0.1 port=1');
SELECT shardman.create_cluster('host=127.0.0.1 port=1 dbname=other');
SELECT shardman.add_node('port=1');
SELECT connstr AS member FROM shardman.nodes WHERE id = 3 \gset
SELECT shardman.add_node(:'member' || ' user=postgres');
SELECT shardman.join_cluster(:'member', :'member');
BEGIN;
SELECT shardman.add_node(:'member');
ROLLBACK;
SELECT shardman.raft_rpc('x');
SELECT shardman.adopt('{}');
-- A sample of the rows of all nodes.
SELECT count(*) FROM root TABLESAMPLE BERNOULLI (0);
-- Isolation and preparing.
BEGIN;
INSERT INTO root SELECT generate_series(1, 20);
PREPARE TRANSACTION 'by hand';
-- Nothing is left.
\connect - - - :n1
DROP TABLE root;
DROP TABLE plain, referenced;
SELECT count(*) FROM shardman.parts;
SELECT count(*) FROM pg_class WHERE relname ~ '^shard_';
\connect - - - :n2
SELECT count(*) FROM shardman.parts;
SELECT count(*) FROM pg_class WHERE relname ~ '^shard_';
