-- Aggregates over all partitions: whole groups, and states finalised elsewhere.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\set by_key 'WITH (distributed_by = ''k'', num_parts = 5)'
\else
\set by_id ''
\set by_key ''
\endif
CREATE TABLE ag (id int PRIMARY KEY, k int, t text, n numeric, f float8, r real, b bigint, s smallint,
                 bo bool, d interval, ts timestamptz, a int[]) :by_id;
CREATE TABLE ag_empty (id int PRIMARY KEY, v int, n numeric) :by_id;
CREATE TABLE ag_key (k int, v int, t text) :by_key;
\connect - - - :n2
-- k is NULL in one group, n NULL throughout two, f exact in binary so that the order of addition does not show.
INSERT INTO ag SELECT i, CASE WHEN i % 11 <> 0 THEN i % 10 END, 'txt' || i % 7, CASE WHEN i % 5 <> 0 THEN i * 1.25 END,
    i / 4.0, i / 2.0, i * 1000000000000::bigint, i % 100, i % 2 = 0, i * interval '1 min 1 day',
    timestamptz '2024-01-01 00:00:00+00' + i * interval '1 hour', ARRAY[i % 3, i % 4]
  FROM generate_series(1, 1000) i;
INSERT INTO ag_key SELECT i % 40, i, 'x' || i % 3 FROM generate_series(1, 400) i;
\connect - - - :n3
ANALYZE ag;
ANALYZE ag_key;

-- states that are results
SELECT count(*), count(n), count(k), sum(s), sum(k), sum(r), sum(f), min(t), max(t), min(n), max(ts), min(d), max(a) FROM ag;
SELECT bool_and(bo), bool_or(bo), every(id > 0), bit_and(b), bit_or(s), bit_xor(k) FROM ag;
-- states that are arrays or internal
SELECT avg(s), avg(k), avg(n), avg(f), avg(r), avg(b), sum(n), sum(b), avg(d), sum(d) FROM ag;
SELECT round(stddev(n), 8), round(var_pop(k), 8), round(variance(b), 3), round(stddev_samp(f)::numeric, 8), round(var_samp(s), 8) FROM ag;
SELECT round(corr(f, k)::numeric, 8), round(regr_slope(f, s)::numeric, 8), regr_count(f, k), round(covar_pop(f, s)::numeric, 6) FROM ag;
SELECT k, count(*), sum(n), avg(n), round(stddev(f)::numeric, 6), sum(b), avg(s), min(t), bool_and(bo), avg(d)
  FROM ag WHERE id < 900 GROUP BY k HAVING count(*) > 3 ORDER BY k;
SELECT sum(n), avg(n), stddev(n) FROM ag WHERE id IN (3, 4, 5, 6);
SELECT t, sum(n) / count(*), max(f) - min(f), avg(n) FILTER (WHERE k > 3) FROM ag GROUP BY t ORDER BY t;
SELECT k % 3 AS m, upper(t) AS u, count(*), sum(b) FROM ag GROUP BY k % 3, upper(t) ORDER BY m NULLS FIRST, u LIMIT 8;
SELECT (k % 3) * 10 AS m, avg(n) + 1 FROM ag GROUP BY k % 3 ORDER BY m;
SELECT a, count(*) FROM ag GROUP BY a ORDER BY a;
SELECT DISTINCT bo, s % 4 FROM ag ORDER BY 1, 2;
SELECT date_trunc('day', ts AT TIME ZONE 'UTC') AS day, count(*) FROM ag WHERE id < 100 GROUP BY day ORDER BY day;

-- nothing, and groups of nothing
\connect - - - :n1
SELECT count(*), sum(v), avg(v), min(v), sum(n), avg(n), stddev(n) FROM ag_empty;
SELECT v, count(*), avg(n) FROM ag_empty GROUP BY v;
SELECT count(*), avg(n) FROM ag WHERE id < 0 HAVING count(*) = 0;
INSERT INTO ag_empty VALUES (1, 7, 'NaN'), (2, NULL, NULL), (3, 7, 1);
SELECT count(*), sum(v), avg(v), min(v), sum(n), avg(n), max(n) FROM ag_empty;
SELECT v, count(*), avg(n), sum(n) FROM ag_empty GROUP BY v ORDER BY v;
INSERT INTO ag_empty VALUES (4, 2147483647, 1e30), (5, 2147483647, 'Infinity');
SELECT sum(v), avg(v), sum(n) FROM ag_empty WHERE id > 3;
SELECT sum(9223372036854775807) FROM ag_empty;

-- groups that a partition holds whole
SELECT id, count(*), string_agg(t, ',' ORDER BY n DESC) FILTER (WHERE k > 2), count(DISTINCT t) + 1
  FROM ag GROUP BY id HAVING sum(n) > 1230 ORDER BY id;
SELECT k, count(DISTINCT t), string_agg(DISTINCT t, '' ORDER BY t), array_agg(v ORDER BY v DESC), sum(v) FROM ag_key
  GROUP BY k HAVING max(v) > 390 AND count(*) < random() + 11 ORDER BY k;
SELECT k, t, count(*) FROM ag_key GROUP BY k, t HAVING min(v) < 8 ORDER BY k, t;
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY v), k FROM ag_key GROUP BY k ORDER BY k LIMIT 3;
SELECT k, GROUPING(k), count(*) FROM ag_key WHERE k < 3 GROUP BY ROLLUP (k) ORDER BY k;
-- a column that only the primary key makes unique in its group
SELECT id, t, count(*) FROM ag WHERE id < 4 GROUP BY id ORDER BY id;

-- with parameters, in subqueries, with what must stay here
PREPARE p(int, text) AS SELECT k, sum(n * $1), count(*) FILTER (WHERE t = $2) FROM ag WHERE k < $1 GROUP BY k ORDER BY k;
EXECUTE p(3, 'txt1');
EXECUTE p(4, 'txt2');
SET plan_cache_mode = force_generic_plan;
EXECUTE p(3, 'txt1');
EXECUTE p(4, 'txt2');
RESET plan_cache_mode;
DEALLOCATE p;
SELECT x, (SELECT avg(n) FROM ag WHERE k = x), (SELECT count(*) + x FROM ag WHERE k > x) FROM generate_series(1, 3) x ORDER BY x;
SELECT count(*), sum(n) FROM ag WHERE random() >= 0;
SELECT count(*) FILTER (WHERE random() >= 0), avg(n) FROM ag;
SELECT max(c), avg(c) FROM (SELECT k, count(*) AS c FROM ag GROUP BY k) s;
SELECT k, sum(sum(v)) OVER (ORDER BY k) FROM ag_key WHERE k < 4 GROUP BY k ORDER BY k;
SELECT max(t COLLATE "C"), min(t COLLATE "C") FROM ag;
CREATE FUNCTION ag_plus(numeric, numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT coalesce($1, 0) + coalesce($2, 0)';
CREATE AGGREGATE ag_sum(numeric) (SFUNC = ag_plus, STYPE = numeric, COMBINEFUNC = ag_plus);
SELECT ag_sum(n), count(*) FROM ag;
DROP AGGREGATE ag_sum(numeric);
DROP FUNCTION ag_plus(numeric, numeric);
-- what a transaction has not committed is counted
BEGIN;
DELETE FROM ag WHERE k = 1;
SELECT count(*), avg(n) FROM ag;
ROLLBACK;
SELECT count(*), avg(n) FROM ag;
DROP TABLE ag_key;
DROP TABLE ag_empty;
DROP TABLE ag;
