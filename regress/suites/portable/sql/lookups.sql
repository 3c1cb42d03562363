-- A few rows joined with many: lookups by parameters, one round after the other.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 5)'
\else
\set by_id ''
\endif
CREATE TABLE big (id int PRIMARY KEY, v int, s text, c text COLLATE "C", n numeric, a int[]) :by_id;
CREATE INDEX big_v ON big (v);
CREATE INDEX big_s ON big (s);
INSERT INTO big SELECT i, i % 2000, 's' || i % 997, 'c' || i % 97, i / 4.0, ARRAY[i, i % 3] FROM generate_series(1, 20000) i;
\connect - - - :n2
CREATE TEMP TABLE few (k int, x text, b bigint, n numeric);
INSERT INTO few VALUES (7, 's7', 7, 7.25), (700, 's700', 700, 7), (NULL, NULL, NULL, NULL), (7000, 'S7', 19999, 20000), (7, 's7', -1, 0);
ANALYZE few;
SELECT few.k, big.* FROM few JOIN big ON big.id = few.k ORDER BY 1, 2;
SELECT few.k, count(*), sum(big.id) FROM few JOIN big ON big.v = few.k GROUP BY 1 ORDER BY 1;
SELECT few.k, count(big.id), max(big.s) FROM few LEFT JOIN big ON big.s = few.x AND big.v > few.k GROUP BY 1 ORDER BY 1;
SELECT few.b, big.id FROM few LEFT JOIN big ON big.id = few.b ORDER BY 1, 2;
SELECT few.n, big.id FROM few JOIN big ON big.n = few.n ORDER BY 1, 2;
SELECT few.k, big.id FROM few JOIN big ON big.id = few.k + 1 AND big.c <> few.x ORDER BY 1, 2;
SELECT few.k, (SELECT count(*) FROM big WHERE big.v = few.k) FROM few ORDER BY 1;
SELECT few.k, t.id FROM few, LATERAL (SELECT id FROM big WHERE big.v = few.k ORDER BY id DESC LIMIT 2) t ORDER BY 1, 2;
SELECT count(*) FROM few WHERE EXISTS (SELECT FROM big WHERE big.id = few.k AND big.a[1] = few.k);
SELECT count(*) FROM few WHERE NOT EXISTS (SELECT FROM big WHERE big.id = few.k);
SELECT few.k, a.id, b.id FROM few JOIN big a ON a.id = few.k JOIN big b ON b.v = a.v AND b.s = a.s ORDER BY 1, 2, 3;
SELECT few.k, big.id FROM few JOIN big ON big.id = few.k FOR UPDATE OF big;
-- the same however it is joined
SET enable_hashjoin = off; SET enable_mergejoin = off;
SELECT few.k, count(*), sum(big.id) FROM few JOIN big ON big.v = few.k GROUP BY 1 ORDER BY 1;
SELECT few.k, count(*) FROM few JOIN big ON big.c = few.x || '' GROUP BY 1 ORDER BY 1;
SET enable_memoize = off; SET enable_material = off;
SELECT few.k, count(*), sum(big.id) FROM few JOIN big ON big.v = few.k GROUP BY 1 ORDER BY 1;
RESET ALL;
-- collations that come from the outer side
SELECT x COLLATE "C" AS x, count(big.id) FROM few LEFT JOIN big ON big.s = few.x COLLATE "C" GROUP BY 1 ORDER BY 1;
SELECT x, count(big.id) FROM few LEFT JOIN big ON big.c = few.x COLLATE "C" GROUP BY 1 ORDER BY 1;
-- statements that write
\connect - - - :n3
CREATE TEMP TABLE few (k int, x text);
INSERT INTO few VALUES (7, 's7'), (700, 's700'), (NULL, NULL);
ANALYZE few;
UPDATE big SET n = -1 FROM few WHERE big.id = few.k RETURNING big.id, few.x;
INSERT INTO big (id, v) SELECT 100000 + big.id, few.k FROM few JOIN big ON big.v = few.k;
SELECT v, count(*) FROM big WHERE v IN (7, 700) GROUP BY v ORDER BY v;
DELETE FROM big USING few WHERE big.v = few.k AND big.id > 100000;
SELECT v, count(*) FROM big WHERE v IN (7, 700) GROUP BY v ORDER BY v;
PREPARE l(int) AS SELECT count(*), sum(big.id) FROM few JOIN big ON big.v = few.k AND big.id > $1;
EXECUTE l(10);
SET plan_cache_mode = force_generic_plan;
EXECUTE l(10000);
EXECUTE l(NULL);
RESET ALL;
BEGIN;
DECLARE c CURSOR FOR SELECT few.k, big.id FROM few JOIN big ON big.v = few.k ORDER BY 1, 2;
FETCH 3 FROM c;
SAVEPOINT s;
UPDATE big SET v = -7 WHERE v = 7;
SELECT count(*) FROM few JOIN big ON big.v = few.k;
ROLLBACK TO s;
FETCH 2 FROM c;
SELECT count(*) FROM few JOIN big ON big.v = few.k;
COMMIT;
DROP TABLE big;
