-- Primary keys, unique and other constraints, raised from any node. Only the
-- SQLSTATE is compared: on a cluster the constraint is that of a partition.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\else
\set by_id ''
\endif
\set VERBOSITY sqlstate
CREATE TABLE con_t (id int, code int, v text, PRIMARY KEY (id), UNIQUE (code, id), CONSTRAINT v_is_short CHECK (length(v) < 6)) :by_id;
INSERT INTO con_t SELECT g, g % 3, 'v' || g FROM generate_series(1, 12) g;
\connect - - - :n2
INSERT INTO con_t VALUES (1, 1, 'dup');
INSERT INTO con_t VALUES (2, 1, 'dup');
INSERT INTO con_t VALUES (3, 1, 'dup');
INSERT INTO con_t VALUES (13, 1, 'new'), (4, 1, 'dup'), (14, 1, 'new');
\connect - - - :n3
INSERT INTO con_t VALUES (5, 1, 'dup');
INSERT INTO con_t VALUES (NULL, 1, 'x');
INSERT INTO con_t VALUES (20, 1, 'too long');
INSERT INTO con_t SELECT g, 1, CASE WHEN g = 38 THEN 'too long' ELSE 'ok' END FROM generate_series(30, 40) g;
UPDATE con_t SET v = v || v || v;
UPDATE con_t SET v = 'longer' WHERE id = 6;
INSERT INTO con_t SELECT 50, g, 'x' FROM generate_series(1, 2) g;
SELECT count(*), max(id) FROM con_t;

-- none of the failed statements left a row
\connect - - - :n1
SELECT id, code, v FROM con_t ORDER BY id;

-- a violation in a transaction with a savepoint
BEGIN;
INSERT INTO con_t VALUES (100, 0, 'a');
SAVEPOINT s;
INSERT INTO con_t VALUES (101, 0, 'b'), (1, 0, 'c');
ROLLBACK TO s;
INSERT INTO con_t VALUES (102, 0, 'd');
COMMIT;
SELECT id FROM con_t WHERE id >= 100 ORDER BY id;

-- a deleted key can be used again, in the same transaction too
BEGIN;
DELETE FROM con_t WHERE id = 100;
INSERT INTO con_t VALUES (100, 9, 'again');
COMMIT;
\connect - - - :n2
SELECT * FROM con_t WHERE id = 100;

-- no key at all, and duplicates of everything
CREATE TABLE con_heap (id int, v text) :by_id;
INSERT INTO con_heap SELECT g % 5, 'same' FROM generate_series(1, 20) g;
INSERT INTO con_heap VALUES (NULL, 'null key'), (NULL, NULL);
\connect - - - :n3
SELECT id, v, count(*) FROM con_heap GROUP BY id, v ORDER BY id, v;
UPDATE con_heap SET v = 'was null' WHERE id IS NULL;
DELETE FROM con_heap WHERE id = 2;
SELECT id, v, count(*) FROM con_heap GROUP BY id, v ORDER BY id, v;
DROP TABLE con_heap;
DROP TABLE con_t;
