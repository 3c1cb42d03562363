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
-- Sub-selects that are run again for each row.
TRUNCATE self_t;
INSERT INTO self_t SELECT g, 'v' || g % 3 FROM generate_series(1, 12) g;
WITH done AS (
    UPDATE self_t u SET v = 'new' WHERE (SELECT count(*) FROM self_t x WHERE x.v = u.v) > 1 RETURNING id)
SELECT count(*) FROM done;
INSERT INTO self_t SELECT id + 100, (SELECT count(*) FROM self_t x WHERE x.v = y.v) FROM self_t y;
INSERT INTO self_t SELECT id + 1000, (SELECT count(*) FROM self_t x JOIN self_t z USING (id) WHERE x.v = y.v) FROM self_t y;
DELETE FROM self_t u WHERE (SELECT count(*) FROM self_t x WHERE x.v = u.v) > 13;
SELECT v, count(*) FROM self_t GROUP BY v ORDER BY v;
-- A sub-select that is planned in two ways, of which one is dropped.
WITH done AS (
    UPDATE self_t u SET v = 'none' WHERE NOT EXISTS (SELECT FROM self_t x WHERE x.v = u.id::text) OR u.v IS NULL RETURNING id)
SELECT count(*) FROM done;
-- The inner side of a nested loop.
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
INSERT INTO self_t SELECT a.id + 5000, b.v FROM self_t a JOIN self_t b ON a.id >= b.id AND a.id < b.id + 1;
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_material;
SELECT v, count(*) FROM self_t GROUP BY v ORDER BY v;
DROP TABLE self_t;
