-- ORDER BY and LIMIT over partitions: keys, directions, NULLs, ties, collations.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 7)'
\set with_ord 'WITH (distributed_by = ''id'', colocate_with = ''ord'')'
\else
\set by_id ''
\set with_ord ''
\endif
CREATE TABLE ord (id int PRIMARY KEY, v int, s text, c text COLLATE "C", vc varchar(10), n numeric, d timestamptz,
  b boolean, a int[]) :by_id;
CREATE TABLE ord_line (id int, line int, item text, PRIMARY KEY (id, line)) :with_ord;
CREATE INDEX ord_v ON ord (v);
\connect - - - :n2
INSERT INTO ord SELECT i, CASE WHEN i % 11 = 0 THEN NULL ELSE i * 7919 % 101 END,
    CASE i % 4 WHEN 0 THEN 'Ärger ' WHEN 1 THEN 'apfel-' WHEN 2 THEN 'Zebra ' ELSE 'a b' END || i % 50,
    chr(97 + i % 5) || chr(65 + i % 7), 'v' || i % 30, CASE WHEN i % 50 = 0 THEN 'NaN' ELSE i * 1.5 END,
    '2024-01-01 UTC'::timestamptz + i * interval '1 hour', i % 3 = 0, ARRAY[i % 3, i % 7]
  FROM generate_series(1, 400) i;
INSERT INTO ord_line SELECT i, l, 'item ' || (i * l) % 17 FROM generate_series(1, 400) i, generate_series(1, i % 4) l;
\connect - - - :n3
SELECT id, v FROM ord ORDER BY v, id LIMIT 5;
SELECT id, v FROM ord ORDER BY v DESC, id DESC LIMIT 5 OFFSET 30;
SELECT id, v FROM ord ORDER BY v NULLS FIRST, id LIMIT 5 OFFSET 34;
SELECT id, v FROM ord ORDER BY v DESC NULLS LAST, id LIMIT 3;
SELECT id, v FROM ord ORDER BY v DESC NULLS LAST, id OFFSET 397;
SELECT id, s FROM ord ORDER BY s, id LIMIT 6;
SELECT id, s FROM ord ORDER BY s COLLATE "C", id LIMIT 6;
SELECT id, s FROM ord ORDER BY s COLLATE "C" DESC, id LIMIT 3;
SELECT id, c FROM ord ORDER BY c DESC, id LIMIT 4;
SELECT id, s || c AS both FROM ord ORDER BY s COLLATE "C" || c, id LIMIT 4;
SELECT id, vc FROM ord ORDER BY vc USING ~>~, id LIMIT 4;
SELECT id, n FROM ord ORDER BY n DESC, id LIMIT 9;
SELECT id FROM ord ORDER BY d DESC LIMIT 3;
SELECT b, a, id FROM ord ORDER BY b DESC, a, id LIMIT 4;
SELECT id FROM ord ORDER BY v % 10 DESC NULLS LAST, -id LIMIT 4;
SELECT id FROM ord ORDER BY abs(id - 200), id LIMIT 5;
SELECT id, 10 / (id - 4) AS q FROM ord WHERE id > 4 ORDER BY 10 / (id - 4) DESC, id LIMIT 3;
-- a condition that stays where the query is asked, and an expression that fails for rows it drops
CREATE FUNCTION ord_odd(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 % 2 = 1; END';
SELECT id FROM ord WHERE ord_odd(id) ORDER BY v, id LIMIT 5;
SELECT id FROM ord WHERE ord_odd(id) ORDER BY 1000 / (id % 2), id LIMIT 3;
DROP FUNCTION ord_odd(int);
-- conditions, several levels, set operations
SELECT id, v FROM ord WHERE v BETWEEN 20 AND 40 AND s LIKE 'Z%' ORDER BY id DESC LIMIT 4;
SELECT * FROM (SELECT id, v FROM ord ORDER BY v DESC NULLS LAST, id LIMIT 50) t WHERE id % 2 = 0 ORDER BY id LIMIT 4;
SELECT max(id), count(*) FROM (SELECT id FROM ord ORDER BY v, id LIMIT 100) t;
SELECT id FROM ord WHERE id < 10 UNION ALL SELECT -id FROM ord WHERE id < 10 ORDER BY 1 LIMIT 5;
SELECT id FROM (SELECT id, v FROM ord UNION ALL SELECT -id, v FROM ord) t ORDER BY v, id DESC LIMIT 5;
SELECT DISTINCT v FROM ord ORDER BY v DESC NULLS LAST LIMIT 3;
SELECT DISTINCT ON (b) b, id FROM ord ORDER BY b, id DESC;
SELECT count(*), max(v) FROM (SELECT v FROM ord WHERE v < 5 ORDER BY v FETCH FIRST 2 ROWS WITH TIES) t;
SELECT id, row_number() OVER (ORDER BY v DESC NULLS LAST, id) AS r FROM ord ORDER BY r LIMIT 3;
SELECT id, generate_series(1, 2) AS g FROM ord ORDER BY id, g LIMIT 3;
SELECT id FROM ord ORDER BY id LIMIT 0;
SELECT id FROM ord WHERE v > 1000 ORDER BY id LIMIT 3;
SELECT id FROM ord ORDER BY id LIMIT NULL OFFSET 398;
SELECT count(*) FROM (SELECT id FROM ord ORDER BY v LIMIT 9223372036854775807 OFFSET 3) t;
-- joins of what is kept together, and others
SELECT o.id, l.line, o.v FROM ord o JOIN ord_line l USING (id) ORDER BY o.v DESC NULLS LAST, o.id, l.line LIMIT 5;
SELECT o.id, l.item FROM ord o JOIN ord_line l USING (id) WHERE l.line = 3 ORDER BY l.item, o.v + l.line, o.id LIMIT 4 OFFSET 2;
SELECT o.id, l.line FROM ord o LEFT JOIN ord_line l USING (id) ORDER BY l.line DESC, o.id LIMIT 4;
SELECT a.id, b.id FROM ord a JOIN ord b ON a.v = b.id ORDER BY a.v DESC, a.id LIMIT 4;
SELECT o.id, (SELECT l.item FROM ord_line l WHERE l.id = o.id ORDER BY l.line DESC LIMIT 1) FROM ord o ORDER BY o.id DESC LIMIT 4;
SELECT x, t.id FROM (VALUES (10), (50), (99)) x(x), LATERAL (SELECT id FROM ord WHERE v >= x ORDER BY v, id LIMIT 2) t ORDER BY x, t.id;
-- groups
SELECT id, count(*) FROM ord_line GROUP BY id ORDER BY count(*) DESC, id LIMIT 3;
SELECT id, sum(line) AS count FROM ord_line GROUP BY id ORDER BY count DESC, id DESC LIMIT 3;
SELECT id, max(item) FROM ord_line GROUP BY id HAVING count(*) = 2 ORDER BY max(item) COLLATE "C" DESC, id LIMIT 3;
SELECT o.id, count(l.line) FROM ord o JOIN ord_line l USING (id) GROUP BY o.id ORDER BY 2 DESC, o.id * 2 DESC LIMIT 3;
SELECT v, count(*) FROM ord GROUP BY v ORDER BY count(*) DESC, v LIMIT 3;
SELECT id FROM ord_line GROUP BY id ORDER BY id DESC LIMIT 3;
SELECT max(v) FROM ord ORDER BY 1 DESC LIMIT 1;
SELECT bool_and(v < 200) FROM ord HAVING count(*) > 1 ORDER BY 1;
-- prepared, with limits that come late
PREPARE top(int, int) AS SELECT id FROM ord WHERE v > $1 ORDER BY v, id LIMIT $2;
EXECUTE top(50, 2);
SET plan_cache_mode = force_generic_plan;
EXECUTE top(50, 3);
EXECUTE top(NULL, 3);
EXECUTE top(98, NULL);
RESET plan_cache_mode;
DEALLOCATE top;
-- cursors, forwards, and again inside a statement that writes
BEGIN;
DECLARE c CURSOR FOR SELECT id, v FROM ord ORDER BY v DESC NULLS LAST, id;
FETCH 2 FROM c;
UPDATE ord SET v = 1000 WHERE id = 1;
FETCH 2 FROM c;
INSERT INTO ord (id, v) SELECT id + 1000, v FROM ord ORDER BY v DESC NULLS LAST, id LIMIT 3;
SELECT id, v FROM ord ORDER BY v DESC NULLS LAST, id LIMIT 5;
ROLLBACK;
SELECT id FROM ord WHERE v = 3 ORDER BY id FOR UPDATE;
BEGIN;
SELECT id FROM ord ORDER BY id DESC LIMIT 2 FOR UPDATE;
COMMIT;
UPDATE ord SET s = 'changed' WHERE id IN (SELECT id FROM ord ORDER BY v DESC NULLS LAST, id LIMIT 2) RETURNING id;
-- an expression that fails at some row
\set VERBOSITY terse
SELECT id FROM ord ORDER BY 1 / (id - 7) LIMIT 1;
DROP TABLE ord_line;
DROP TABLE ord;
