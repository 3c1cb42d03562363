-- Outer, semi and anti joins: where ON and WHERE belong, rows filled with NULLs,
-- whole rows and system columns of them, expressions of nested sub-selects.
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 5)'
\set by_a 'WITH (distributed_by = ''a'', colocate_with = ''oj_a'')'
\set by_z 'WITH (distributed_by = ''z'', num_parts = 4)'
\else
\set by_id ''
\set by_a ''
\set by_z ''
\endif
CREATE TABLE oj_a (id int PRIMARY KEY, k int, v text) :by_id;
CREATE TABLE oj_b (id int, a int, w text) :by_a;
CREATE TABLE oj_apart (z int, a int) :by_z;
\connect - - - :n2
INSERT INTO oj_a SELECT i, nullif(i % 4, 0), 'v' || i FROM generate_series(1, 20) i;
INSERT INTO oj_b SELECT i, nullif(i * 2 % 26, 0), nullif('w' || i, 'w7') FROM generate_series(1, 16) i;
INSERT INTO oj_b SELECT i, 6, 'twin' FROM generate_series(20, 21) i;
INSERT INTO oj_b VALUES (30, NULL, NULL), (31, 3, NULL);
INSERT INTO oj_apart SELECT i, i + 3 FROM generate_series(1, 12) i;
CREATE TABLE oj_here (id int, n int);
INSERT INTO oj_here SELECT i, i % 3 FROM generate_series(1, 8) i;
-- conditions of ON and of WHERE
SELECT x.id, y.w FROM oj_a x LEFT JOIN oj_b y ON x.id = y.a ORDER BY x.id, y.id;
SELECT x.id, y.w FROM oj_a x LEFT JOIN oj_b y ON x.id = y.a AND y.id > 5 AND x.k < 3 WHERE x.k > 1 ORDER BY x.id, y.id;
SELECT x.id, y.w FROM oj_a x LEFT JOIN oj_b y ON x.id = y.a WHERE y.w IS NULL OR y.id = 3 ORDER BY x.id, y.id;
SELECT x.id, y.w FROM oj_a x LEFT JOIN oj_b y ON x.id = y.a WHERE y.a IS NULL ORDER BY x.id;
SELECT x.id FROM oj_a x LEFT JOIN oj_b y ON x.id = y.a WHERE y.id IS NULL AND x.k IS NOT NULL ORDER BY x.id;
SELECT x.id, y.id FROM oj_a x RIGHT JOIN oj_b y ON x.id = y.a AND x.k = 3 WHERE y.id < 12 ORDER BY y.id, x.id;
SELECT x.id, y.id FROM oj_a x FULL JOIN oj_b y ON x.id = y.a ORDER BY x.id, y.id;
SELECT x.id, y.id FROM oj_a x FULL JOIN oj_b y ON x.id = y.a WHERE x.k = 2 OR y.w = 'twin' ORDER BY x.id, y.id;
SELECT x.id, y.id FROM (SELECT * FROM oj_a WHERE k = 2) x FULL JOIN (SELECT * FROM oj_b WHERE id < 6) y ON x.id = y.a ORDER BY x.id, y.id;
SELECT x.id, y.id FROM (SELECT * FROM oj_a WHERE k = 2) x FULL JOIN (SELECT * FROM oj_b WHERE id < 6) y ON x.id = y.a WHERE x.id IS NULL OR y.id IS NULL ORDER BY x.id, y.id;
SELECT x.id, y.id FROM oj_a x FULL JOIN oj_b y ON x.id = y.a AND random() >= 0 WHERE coalesce(x.id, 0) + coalesce(y.id, 0) < 12 ORDER BY x.id, y.id;
-- rows that are not there are NULL as a whole
SELECT x IS NULL AS no_x, y IS NULL AS no_y, x, y FROM oj_a x FULL JOIN oj_b y ON x.id = y.a WHERE y.id IS NULL OR x.id IS NULL OR y.w IS NULL ORDER BY x.id, y.id;
SELECT x.id, y.tableoid IS NULL AS no_y, y.ctid IS NULL AS no_ctid FROM oj_a x LEFT JOIN oj_b y ON x.id = y.a WHERE x.id < 7 ORDER BY x.id, y.id;
-- several
SELECT x.id, y.id, z.id FROM oj_a x LEFT JOIN (oj_b y JOIN oj_a z ON y.a = z.id AND z.k < 3) ON x.id = y.a ORDER BY x.id, y.id;
SELECT x.id, y.id, z.v FROM (oj_a x FULL JOIN oj_b y ON x.id = y.a) LEFT JOIN oj_a z ON z.id = x.id AND z.k = 1 ORDER BY x.id, y.id;
SELECT x.id, y.id, z.id FROM (oj_a x LEFT JOIN oj_b y ON x.id = y.a) FULL JOIN oj_a z ON z.id = x.id AND y.id > 2 WHERE z.k = 2 OR x.k = 1 ORDER BY x.id, y.id, z.id;
SELECT x.id, s.id FROM oj_a x FULL JOIN (SELECT y.id, y.a FROM oj_b y LEFT JOIN oj_a u ON y.a = u.id WHERE u.k IS NULL OR u.k = 2) s ON s.a = x.id ORDER BY x.id, s.id;
SELECT x.id, y.id, p.z FROM oj_a x LEFT JOIN oj_b y ON x.id = y.a LEFT JOIN oj_apart p ON p.a = y.id ORDER BY x.id, y.id, p.z;
SELECT h.id, x.k, y.id FROM oj_here h LEFT JOIN (oj_a x JOIN oj_b y ON x.id = y.a) ON h.id = x.id AND y.id <> h.n ORDER BY h.id, y.id;
SELECT h.id, x.k, y.id FROM oj_here h FULL JOIN (oj_a x LEFT JOIN oj_b y ON x.id = y.a) ON h.id = x.id WHERE h.n = 1 OR y.id < 3 ORDER BY h.id, x.id, y.id;
-- expressions that are NULL where their row is
SELECT x.id, s.one, s.t FROM oj_a x LEFT JOIN (SELECT a, 1 AS one, coalesce(w, 'none') AS t FROM oj_b) s ON s.a = x.id ORDER BY x.id, s.t;
SELECT x.id, s.c, s.d FROM oj_a x LEFT JOIN (SELECT y.a, coalesce(u.k, -1) AS c, 5 AS d FROM oj_b y LEFT JOIN oj_a u ON u.id = y.a) s ON s.a = x.id AND s.c < 3 ORDER BY x.id, s.c;
-- lateral
SELECT x.id, l.s FROM oj_a x LEFT JOIN LATERAL (SELECT y.w, x.k + y.id AS s FROM oj_b y WHERE y.a = x.id) l ON l.s > 5 ORDER BY x.id, l.s;
SELECT x.id, l.c FROM oj_a x, LATERAL (SELECT count(*) AS c FROM oj_b y WHERE y.a = x.id AND y.id > x.k) l ORDER BY x.id;
SELECT x.id, l.id FROM oj_a x LEFT JOIN LATERAL (SELECT y.id FROM oj_b y WHERE y.a <= x.id ORDER BY y.id DESC LIMIT 2) l ON true ORDER BY x.id, l.id;
-- semi and anti
SELECT x.id FROM oj_a x WHERE EXISTS (SELECT FROM oj_b y WHERE y.a = x.id AND y.id > 2) ORDER BY 1;
SELECT x.id FROM oj_a x WHERE NOT EXISTS (SELECT FROM oj_b y WHERE y.a = x.id AND y.id > x.k) ORDER BY 1;
SELECT x.id FROM oj_a x WHERE x.k IN (SELECT y.id FROM oj_b y WHERE y.a = x.id) ORDER BY 1;
SELECT x.id FROM oj_a x WHERE x.id NOT IN (SELECT y.a FROM oj_b y WHERE y.a IS NOT NULL) ORDER BY 1;
SELECT x.id FROM oj_a x WHERE x.id NOT IN (SELECT y.a FROM oj_b y) ORDER BY 1;
SELECT x.id, s.id FROM oj_a x LEFT JOIN (SELECT * FROM oj_b y WHERE EXISTS (SELECT FROM oj_a u WHERE u.id = y.a AND u.k = 2)) s ON s.a = x.id ORDER BY 1, 2;
SELECT x.id, s.id FROM oj_a x LEFT JOIN (SELECT * FROM oj_b y WHERE NOT EXISTS (SELECT FROM oj_a u WHERE u.id = y.a AND u.k = 2)) s ON s.a = x.id ORDER BY 1, 2;
SELECT x.id, s.id FROM oj_a x FULL JOIN (SELECT * FROM oj_b y WHERE NOT EXISTS (SELECT FROM oj_a u WHERE u.id = y.a AND u.k = 2)) s ON s.a = x.id ORDER BY 1, 2;
SELECT x.id FROM oj_a x WHERE EXISTS (SELECT FROM oj_b y JOIN oj_a u ON u.id = y.a WHERE y.a = x.id AND NOT EXISTS (SELECT FROM oj_b t WHERE t.a = u.id AND t.id > 10)) ORDER BY 1;
SELECT count(*) FROM oj_a x JOIN oj_b y ON x.id = y.a WHERE EXISTS (SELECT FROM oj_b t WHERE t.a = x.id AND t.id <> y.id);
-- groups of them
SELECT x.k, count(*), count(y.id), sum(y.id) FILTER (WHERE y.id > 4), count(DISTINCT y.w) FROM oj_a x LEFT JOIN oj_b y ON x.id = y.a GROUP BY x.k ORDER BY x.k;
SELECT x.id, count(y.id), array_agg(y.id ORDER BY y.id DESC) FROM oj_a x LEFT JOIN oj_b y ON x.id = y.a GROUP BY x.id HAVING count(y.id) <> 1 ORDER BY x.id;
SELECT count(*), count(x.id), count(y.id) FROM oj_a x FULL JOIN oj_b y ON x.id = y.a;
SELECT DISTINCT x.k, y.w IS NULL AS n FROM oj_a x LEFT JOIN oj_b y ON x.id = y.a ORDER BY 1, 2;
SELECT x.k + 1 AS k1, avg(y.id) FROM oj_a x LEFT JOIN oj_b y ON x.id = y.a GROUP BY 1 HAVING min(x.id) > 0 ORDER BY 1;
-- values that come up while the statement runs
PREPARE oj(int, int) AS SELECT x.id, y.id FROM oj_a x LEFT JOIN oj_b y ON x.id = y.a AND y.id > $1 WHERE x.k = $2 ORDER BY 1, 2;
EXECUTE oj(3, 2);
SET plan_cache_mode = force_generic_plan;
EXECUTE oj(7, 2);
EXECUTE oj(NULL, 2);
RESET plan_cache_mode;
SELECT h.id, (SELECT count(y.id) FROM oj_a x LEFT JOIN oj_b y ON x.id = y.a WHERE x.k = h.n) FROM oj_here h ORDER BY 1;
-- rows that are changed or locked
BEGIN;
SELECT x.id, y.id FROM oj_a x LEFT JOIN oj_b y ON x.id = y.a WHERE x.k = 2 ORDER BY 1, 2 FOR UPDATE OF x;
UPDATE oj_a SET v = v || coalesce(y.w, '-') FROM oj_b y LEFT JOIN oj_apart p ON p.a = y.id WHERE oj_a.id = y.a AND y.id < 4;
UPDATE oj_here SET n = y.id FROM oj_a x JOIN oj_b y ON x.id = y.a WHERE oj_here.id = x.id AND y.id < 13;
DELETE FROM oj_a WHERE NOT EXISTS (SELECT FROM oj_b y WHERE y.a = oj_a.id);
SELECT id, v FROM oj_a ORDER BY 1;
SELECT * FROM oj_here ORDER BY 1;
ROLLBACK;
INSERT INTO oj_apart SELECT x.id + 100, y.id FROM oj_a x LEFT JOIN oj_b y ON x.id = y.a WHERE x.k = 1;
SELECT * FROM oj_apart WHERE z > 100 ORDER BY 1, 2;
DROP TABLE oj_here;
\connect - - - :n3
DROP TABLE oj_b;
DROP TABLE oj_a;
DROP TABLE oj_apart;
