-- ORDER BY and LIMIT on servers that users create.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\connect - - - :n2
CREATE TABLE o (id int PRIMARY KEY, "The V" int, s text, c text COLLATE "C");
INSERT INTO o SELECT i, nullif(i % 7, 3), 'S' || i % 40, chr(97 + i % 26) FROM generate_series(1, 300) i;
CREATE TABLE o_even (LIKE o);
INSERT INTO o_even SELECT * FROM o WHERE id % 2 = 0;
\connect - - - :n3
CREATE TABLE o_odd (id int, v int, s text, c text COLLATE "C");
INSERT INTO o_odd SELECT i, nullif(i % 7, 3), 'S' || i % 40, chr(97 + i % 26) FROM generate_series(1, 300, 2) i;
\connect - - - :n1
CREATE FOREIGN TABLE o (id int, v int OPTIONS (column_name 'The V'), s text, c text COLLATE "C") SERVER s2;
CREATE FUNCTION o_fn(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 > 10; END';
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM o ORDER BY v DESC, id LIMIT 3 OFFSET 1;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM o ORDER BY abs(v) NULLS FIRST, s LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM o ORDER BY c USING ~>~ NULLS LAST, ctid;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM o WHERE o_fn(id) ORDER BY c LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM o WHERE o_fn(id) ORDER BY 1 / v LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM o ORDER BY s COLLATE "C" LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM o ORDER BY id DESC LIMIT 2 FOR UPDATE;
SELECT id, v FROM o ORDER BY v DESC, id LIMIT 3 OFFSET 42;
SELECT id, v, s FROM o ORDER BY abs(v) NULLS FIRST, s, id LIMIT 3;
SELECT id, c FROM o ORDER BY c USING ~>~, ctid LIMIT 3;
SELECT id, c FROM o WHERE o_fn(id) ORDER BY c, id LIMIT 3;
SELECT id FROM o ORDER BY id DESC LIMIT 2 FOR UPDATE;
SELECT v, count(*) FROM o GROUP BY v ORDER BY v;
SELECT a.id, b.id FROM o a JOIN o b USING (v) ORDER BY v, a.id, b.id LIMIT 3;
-- merged from two servers
CREATE TABLE m (id int, v int, s text, c text COLLATE "C") PARTITION BY LIST (((id % 2)));
CREATE FOREIGN TABLE m_even PARTITION OF m FOR VALUES IN (0) SERVER s2 OPTIONS (table_name 'o_even');
ALTER FOREIGN TABLE m_even ALTER v OPTIONS (column_name 'The V');
CREATE FOREIGN TABLE m_odd PARTITION OF m FOR VALUES IN (1) SERVER s3 OPTIONS (table_name 'o_odd');
EXPLAIN (VERBOSE, COSTS OFF) SELECT id, v FROM m ORDER BY v NULLS FIRST, id LIMIT 4;
SELECT id, v FROM m ORDER BY v NULLS FIRST, id LIMIT 4;
SELECT count(*), array_agg(id) = array_agg(id ORDER BY s, id) FROM (SELECT id, s FROM m ORDER BY s, id) t;
DROP TABLE m;
DROP FOREIGN TABLE o;
DROP FUNCTION o_fn(int);
\connect - - - :n2
DROP TABLE o, o_even;
\connect - - - :n3
DROP TABLE o_odd;
