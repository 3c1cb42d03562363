-- Statements that read what they write: they see the rows from before, each once.
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 12)'
\else
\set by_id ''
\endif
CREATE TABLE self_t (id int PRIMARY KEY, v text) :by_id;
INSERT INTO self_t SELECT g, repeat('x', 50) || g FROM generate_series(1, 3000) g;
INSERT INTO self_t SELECT id + 10000, v FROM self_t;
SELECT count(*) FROM self_t;
-- Branches that are read one after the other.
INSERT INTO self_t
SELECT id + 20000, v FROM self_t WHERE id < 2000
UNION ALL
(SELECT id + 40000, v FROM self_t WHERE id < 45000 ORDER BY id);
SELECT count(*), max(id) FROM self_t;
-- Leaves that are read one after the other.
SET enable_async_append = off;
INSERT INTO self_t SELECT id + 100000, v FROM self_t;
SELECT count(*) FROM self_t;
WITH fresh AS (INSERT INTO self_t SELECT id + 300000, v FROM self_t WHERE id < 3000 RETURNING id)
SELECT (SELECT count(*) FROM fresh), (SELECT count(*) FROM self_t);
RESET enable_async_append;
WITH gone AS (DELETE FROM self_t WHERE id > 1000 RETURNING id)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM self_t);
SELECT count(*) FROM self_t;
DROP TABLE self_t;
