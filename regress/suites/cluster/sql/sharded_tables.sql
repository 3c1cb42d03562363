-- CREATE TABLE … WITH (distributed_by) in every form, made on one node and
-- looked at from another.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
-- The table is an ordinary partitioned table everywhere.
CREATE TABLE st_orders (
    id bigint,
    customer int NOT NULL,
    placed date DEFAULT '2026-01-01',
    note text COLLATE "C" CHECK (note <> ''),
    total numeric(10, 2),
    doubled numeric GENERATED ALWAYS AS (total * 2) STORED,
    CONSTRAINT st_orders_key PRIMARY KEY (id),
    CONSTRAINT st_orders_note UNIQUE (note, id) INCLUDE (customer)
) WITH (distributed_by = 'id', num_parts = 6, fillfactor = 70);
CREATE INDEX st_orders_customer ON st_orders (customer) WHERE customer > 0;
CREATE UNIQUE INDEX st_orders_unique ON st_orders (id, customer);
\connect - - - :n2
\d st_orders
SELECT node_id, count(*) FROM shardman.parts WHERE rel = 'st_orders'::regclass GROUP BY node_id ORDER BY node_id;
SELECT n.nspname, c.relkind, c.reloptions, count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE i.inhparent = 'st_orders'::regclass GROUP BY 1, 2, 3 ORDER BY 1;
SELECT indexrelid::regclass, indisunique, indisprimary, indisvalid FROM pg_index WHERE indrelid = 'st_orders'::regclass ORDER BY 1;
SELECT constraint_name, constraint_type FROM information_schema.table_constraints WHERE table_name = 'st_orders' AND constraint_type <> 'CHECK' ORDER BY 1;
-- Rows are where the shard map says.
INSERT INTO st_orders (id, customer, note, total) SELECT i, i % 10, 'n' || i, i FROM generate_series(1, 600) i;
\connect - - - :n3
SELECT count(*), sum(total), sum(doubled), min(placed) FROM st_orders;
SELECT count(*) = 600 AS all_in_place FROM st_orders o JOIN shardman.parts p ON p.rel = 'st_orders'::regclass
    AND p.part_name = (SELECT relname FROM pg_class c WHERE c.oid = o.tableoid)
    WHERE satisfies_hash_partition('st_orders'::regclass, 6, p.pnum, o.id);
DROP INDEX st_orders_customer;
\connect - - - :n1
SELECT to_regclass('st_orders_customer');
-- Colocation, through a chain, to the root.
CREATE TABLE st_lines (order_id bigint, line int, PRIMARY KEY (order_id, line)) WITH (distributed_by = 'order_id', colocate_with = 'st_orders');
CREATE TABLE st_notes (order_id bigint) WITH (distributed_by = 'order_id', num_parts = 6, colocate_with = 'public.st_lines');
SELECT relname, nparts, colocated_with, distribution_columns FROM shardman.sharded_tables WHERE relname ~ '^st_' ORDER BY relname;
SELECT count(DISTINCT node_id) AS nodes, count(*) FROM shardman.parts WHERE rel::text ~ '^st_' GROUP BY pnum ORDER BY pnum;
-- The root may go; the group stays.
DROP TABLE st_orders;
SELECT relname, colocated_with FROM shardman.sharded_tables WHERE relname ~ '^st_' ORDER BY relname;
CREATE TABLE st_late (o bigint) WITH (distributed_by = 'o', colocate_with = 'st_notes');
SELECT count(DISTINCT node_id) AS nodes, count(*) FROM shardman.parts WHERE rel::text ~ '^st_' GROUP BY pnum ORDER BY pnum;
DROP TABLE st_lines, st_notes, st_late;
-- Other ways to write it.
CREATE TABLE IF NOT EXISTS st_a (id int) WITH (distributed_by = 'id');
CREATE TABLE IF NOT EXISTS st_a (id int) WITH (distributed_by = 'id');
CREATE TABLE st_b (LIKE st_a INCLUDING ALL, v text DEFAULT 'x') WITH (distributed_by = 'id', num_parts = 2);
CREATE TABLE st_c (a int, b text) PARTITION BY HASH (a, b) WITH (distributed_by = 'a, b', num_parts = 4);
CREATE TABLE "St ""d" ("K ey" text, "Ü" int) WITH (distributed_by = '"K ey", "Ü"', num_parts = 2);
DO $$ BEGIN EXECUTE 'CREATE TABLE st_e (id uuid) WITH (distributed_by = ''id'', num_parts = 1)'; END $$;
CREATE TYPE st_row AS (a int, b text);
\connect - - - :n2
CREATE TYPE st_row AS (a int, b text);
\connect - - - :n3
CREATE TYPE st_row AS (a int, b text);
CREATE TABLE st_f OF st_row (PRIMARY KEY (a)) WITH (distributed_by = 'a', num_parts = 3);
CREATE TABLE st_g (id int) WITH (distributed_by = 'id', num_parts = 2); CREATE TABLE st_h (id int) WITH (distributed_by = 'id', num_parts = 3);
SET shardman.num_parts = 5;
CREATE TABLE st_i (d date, t timestamptz, n numeric, j jsonb) WITH (distributed_by = 'd, t, n, j');
\connect - - - :n1
SELECT relname, nparts, distribution_columns FROM shardman.sharded_tables WHERE nspname = 'public' AND relname ILIKE 'st%' ORDER BY relname COLLATE "C";
INSERT INTO "St ""d" VALUES ('x', 1), ('y', 2);
SELECT * FROM "St ""d" ORDER BY 1;
-- In a transaction.
BEGIN;
CREATE TABLE st_j (id int) WITH (distributed_by = 'id', num_parts = 3);
INSERT INTO st_j SELECT generate_series(1, 30);
SAVEPOINT s;
DROP TABLE st_a;
ROLLBACK TO s;
CREATE TABLE st_k (id int) WITH (distributed_by = 'id', num_parts = 3);
COMMIT;
BEGIN;
CREATE TABLE st_never (id int) WITH (distributed_by = 'id', num_parts = 3);
INSERT INTO st_never SELECT generate_series(1, 30);
ROLLBACK;
\connect - - - :n2
SELECT count(*) FROM st_j;
SELECT to_regclass('st_a'), to_regclass('st_k'), to_regclass('st_never');
TRUNCATE st_j, st_k;
\connect - - - :n3
SELECT count(*) FROM st_j;
DROP TABLE st_a, st_b, st_c, "St ""d", st_e, st_f, st_g, st_h, st_i, st_j, st_k;
DROP TABLE IF EXISTS st_a;
DROP TYPE st_row;
\connect - - - :n2
DROP TYPE st_row;
\connect - - - :n1
DROP TYPE st_row;
SELECT count(*) FROM shardman.parts;
SELECT count(*) FROM pg_class WHERE relname ~ '^shard_';
