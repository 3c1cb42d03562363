-- Tables are made, emptied and dropped on any node; LIKE, IF NOT EXISTS,
-- constraints, several statements in one string, DO blocks.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\set by_id_filled 'WITH (distributed_by = ''id'', num_parts = 6, fillfactor = 70)'
\else
\set by_id ''
\set by_id_filled 'WITH (fillfactor = 70)'
\endif
\set VERBOSITY sqlstate
CREATE TABLE ddl_a (id int PRIMARY KEY, v text NOT NULL DEFAULT 'd', n int CHECK (n > 0), g int GENERATED ALWAYS AS (n * 2) STORED) :by_id;
\connect - - - :n2
INSERT INTO ddl_a (id, n) VALUES (1, 1), (2, 2), (3, 3);
SELECT * FROM ddl_a ORDER BY id;
INSERT INTO ddl_a (id, n) VALUES (4, 0);
INSERT INTO ddl_a (id, v, n) VALUES (4, NULL, 1);
UPDATE ddl_a SET n = -1 WHERE id = 3;
UPDATE ddl_a SET n = 30 WHERE id = 3 RETURNING *;
SELECT count(*) FROM ddl_a;

-- a second CREATE of the same name
\connect - - - :n3
CREATE TABLE ddl_a (id int PRIMARY KEY) :by_id;
CREATE TABLE IF NOT EXISTS ddl_a (id int PRIMARY KEY, other text) :by_id;
CREATE TABLE ddl_like (LIKE ddl_a INCLUDING ALL) :by_id;
INSERT INTO ddl_like (id, n) VALUES (1, 5) RETURNING *;
INSERT INTO ddl_like (id, n) VALUES (1, 5);
CREATE TABLE ddl_filled (id int PRIMARY KEY, v text) :by_id_filled;
INSERT INTO ddl_filled VALUES (1, 'x');
\connect - - - :n1
SELECT * FROM ddl_like;
SELECT * FROM ddl_filled;

-- indexes
CREATE INDEX ddl_a_v ON ddl_a (v);
CREATE INDEX ddl_a_expr ON ddl_a (lower(v), n) WHERE n > 1;
CREATE UNIQUE INDEX ddl_a_unique ON ddl_a (v, id);
\connect - - - :n2
CREATE INDEX ddl_a_v ON ddl_a (n);
CREATE INDEX IF NOT EXISTS ddl_a_v ON ddl_a (n);
SELECT id FROM ddl_a WHERE v = 'd' AND n = 2;
DROP INDEX ddl_a_v;
DROP INDEX ddl_a_v;
DROP INDEX IF EXISTS ddl_a_v;
DROP INDEX ddl_a_expr, ddl_a_unique;

-- TRUNCATE
TRUNCATE ddl_a;
\connect - - - :n3
SELECT count(*) FROM ddl_a;
INSERT INTO ddl_a (id, n) SELECT g, g FROM generate_series(1, 20) g;
BEGIN;
TRUNCATE ddl_a, ddl_like;
SELECT count(*) FROM ddl_a;
ROLLBACK;
SELECT count(*) FROM ddl_a;
TRUNCATE ddl_a, ddl_like;
SELECT (SELECT count(*) FROM ddl_a), (SELECT count(*) FROM ddl_like);

-- several statements in one string
\connect - - - :n1
CREATE TABLE ddl_m1 (id int PRIMARY KEY) :by_id \; INSERT INTO ddl_m1 VALUES (1), (2) \; SELECT count(*) FROM ddl_m1;
DO $$
BEGIN
  INSERT INTO ddl_m1 SELECT g FROM generate_series(3, 10) g;
  DELETE FROM ddl_m1 WHERE id = 1;
END $$;
\connect - - - :n2
SELECT count(*), min(id) FROM ddl_m1;

-- DDL that is rolled back leaves nothing
BEGIN;
CREATE TABLE ddl_gone (id int PRIMARY KEY) :by_id;
INSERT INTO ddl_gone VALUES (1);
ROLLBACK;
SELECT * FROM ddl_gone;
CREATE TABLE ddl_gone (id int PRIMARY KEY, now_other text) :by_id;
INSERT INTO ddl_gone VALUES (1, 'here');
\connect - - - :n3
SELECT * FROM ddl_gone;
BEGIN;
DROP TABLE ddl_gone;
ROLLBACK;
SELECT * FROM ddl_gone;

DROP TABLE ddl_a, ddl_like;
DROP TABLE ddl_filled;
DROP TABLE ddl_m1;
DROP TABLE ddl_gone;
\connect - - - :n1
SELECT * FROM ddl_a;
SELECT * FROM ddl_gone;
DROP TABLE ddl_gone;
DROP TABLE IF EXISTS ddl_gone;
