-- What cannot be done is refused with SQLSTATE, detail and hint, on every node,
-- and leaves nothing behind.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\set VERBOSITY verbose
\set SHOW_CONTEXT never
\set ECHO all
SET client_min_messages = notice;
-- The options.
CREATE TABLE no (id int) WITH (num_parts = 3);
CREATE TABLE no (id int) WITH (colocate_with = 'x');
CREATE TABLE no (id int) WITH (distributed_by);
CREATE TABLE no (id int) WITH (distributed_by = '');
CREATE TABLE no (id int) WITH (distributed_by = 'id,');
CREATE TABLE no (id int) WITH (distributed_by = 'lower(id)');
CREATE TABLE no (id int) WITH (distributed_by = 'id, id');
CREATE TABLE no (id int) WITH (distributed_by = 'id', distributed_by = 'id');
CREATE TABLE no (id int) WITH (distributed_by = 'id', num_parts = 0);
CREATE TABLE no (id int) WITH (distributed_by = 'id', num_parts = 1025);
CREATE TABLE no (id int) WITH (distributed_by = 'id', num_parts = -3);
CREATE TABLE no (id int) WITH (distributed_by = 'id', num_parts = 'many');
CREATE TABLE no (id int) WITH (distributed_by = 'id', fillfactor = 7);
CREATE TABLE no (id int) WITH (distributed_by = 'id', fillfaktor = 70);
-- Distribution columns.
CREATE TABLE no (id int) WITH (distributed_by = 'nope');
CREATE TABLE no (id int, p point) WITH (distributed_by = 'p');
CREATE TABLE no (id int, r regclass) WITH (distributed_by = 'r');
CREATE TABLE no (id int, r regtype[]) WITH (distributed_by = 'r');
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE DOMAIN my_mood AS mood;
CREATE TYPE with_mood AS (i int, m mood);
CREATE TABLE no (id int, m mood) WITH (distributed_by = 'm');
CREATE TABLE no (id int, m my_mood) WITH (distributed_by = 'm');
CREATE TABLE no (id int, m mood[]) WITH (distributed_by = 'm');
CREATE TABLE no (id int, m with_mood) WITH (distributed_by = 'm');
DROP TYPE with_mood;
DROP DOMAIN my_mood;
DROP TYPE mood;
-- Colocation.
CREATE TABLE plain (id int);
CREATE TABLE root (id int) WITH (distributed_by = 'id', num_parts = 6);
CREATE TABLE no (id int) WITH (distributed_by = 'id', colocate_with = 'nowhere');
CREATE TABLE no (id int) WITH (distributed_by = 'id', colocate_with = 'a.b.c');
CREATE TABLE no (id int) WITH (distributed_by = 'id', colocate_with = 'plain');
CREATE TABLE no (id int) WITH (distributed_by = 'id', colocate_with = 'root', num_parts = 5);
CREATE TABLE no (id bigint) WITH (distributed_by = 'id', colocate_with = 'root');
CREATE TABLE no (a int, b int) WITH (distributed_by = 'a, b', colocate_with = 'root');
-- Keys.
CREATE TABLE no (id int PRIMARY KEY, k int) WITH (distributed_by = 'k');
CREATE TABLE no (id int, k int, UNIQUE (id)) WITH (distributed_by = 'k');
CREATE TABLE no (a int, b int, c int, PRIMARY KEY (a, c)) WITH (distributed_by = 'a, b');
CREATE TABLE no (id int REFERENCES root) WITH (distributed_by = 'id');
CREATE TABLE referenced (id int PRIMARY KEY);
CREATE TABLE no (id int REFERENCES referenced) WITH (distributed_by = 'id');
-- Kinds of tables.
CREATE TEMP TABLE no (id int) WITH (distributed_by = 'id');
CREATE TABLE pg_temp.no (id int) WITH (distributed_by = 'id');
CREATE UNLOGGED TABLE no (id int) WITH (distributed_by = 'id');
CREATE TABLE no WITH (distributed_by = 'id') AS SELECT 1 AS id;
CREATE TABLE no (id serial) WITH (distributed_by = 'id');
CREATE TABLE no (id int GENERATED ALWAYS AS IDENTITY) WITH (distributed_by = 'id');
CREATE TABLE no (x int) INHERITS (plain) WITH (distributed_by = 'x');
CREATE TABLE no (id int, k int) PARTITION BY HASH (k) WITH (distributed_by = 'id');
CREATE TABLE no (id int) PARTITION BY RANGE (id) WITH (distributed_by = 'id');
-- Names.
CREATE TABLE root (id int) WITH (distributed_by = 'id');
CREATE TABLE IF NOT EXISTS root (id int) WITH (distributed_by = 'id');
CREATE TABLE shardman_data.no (id int);
CREATE TABLE shardman_remote.no (id int) WITH (distributed_by = 'id');
-- What would change a sharded table on one node only.
ALTER TABLE root ADD COLUMN v text;
ALTER TABLE root RENAME TO toor;
ALTER TABLE root SET SCHEMA shardman;
ALTER TABLE root DETACH PARTITION shardman_data.shard_1_root_0;
CREATE TABLE no PARTITION OF root FOR VALUES WITH (MODULUS 6, REMAINDER 0);
CREATE TRIGGER no BEFORE INSERT ON root FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE RULE no AS ON INSERT TO root DO INSTEAD NOTHING;
CREATE POLICY no ON root;
CREATE INDEX CONCURRENTLY ON root (id);
CREATE UNIQUE INDEX ON root ((id + 1));
-- Leaves by hand. Their names hold the table id, which other files move.
\set VERBOSITY sqlstate
SELECT relname AS leaf FROM pg_class WHERE relname ~ '^shard_\d+_root_0$' \gset
SELECT relnamespace::regnamespace AS leaf_schema FROM pg_class WHERE relname = :'leaf' \gset
INSERT INTO :leaf_schema.:leaf VALUES (1);
UPDATE :leaf_schema.:leaf SET id = 2;
DELETE FROM :leaf_schema.:leaf;
WITH gone AS (DELETE FROM :leaf_schema.:leaf RETURNING *) SELECT * FROM gone;
COPY :leaf_schema.:leaf FROM '/dev/null';
TRUNCATE :leaf_schema.:leaf;
ALTER TABLE :leaf_schema.:leaf ADD COLUMN v text;
ALTER TABLE :leaf_schema.:leaf RENAME TO x;
DROP TABLE :leaf_schema.:leaf;
CREATE INDEX ON :leaf_schema.:leaf (id);
CREATE TABLE child () INHERITS (:leaf_schema.:leaf);
DO $$ BEGIN EXECUTE format('INSERT INTO %s VALUES (1)', (SELECT min(oid::regclass::text) FROM pg_class WHERE relname ~ '^shard_\d+_root_0$')); END $$;
\set VERBOSITY verbose
-- A sharded table goes by its own DROP TABLE only.
CREATE SCHEMA holds;
\connect - - - :n2
CREATE SCHEMA holds;
\connect - - - :n3
CREATE SCHEMA holds;
CREATE TABLE holds.held (id int) WITH (distributed_by = 'id', num_parts = 3);
\set VERBOSITY verbose
SET client_min_messages = warning;
DROP SCHEMA holds CASCADE;
DROP TABLE holds.held;
DROP SCHEMA holds;
\connect - - - :n1
DROP SCHEMA holds;
\connect - - - :n2
DROP SCHEMA holds;
-- A namesake or a missing schema on another node: nothing is made anywhere.
CREATE TABLE namesake (id int);
CREATE SCHEMA only_here;
\set VERBOSITY verbose
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
