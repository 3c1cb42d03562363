-- A join of a few rows here with many there asks for what it needs, although
-- nobody has analysed the foreign table.
\getenv n1 N1
\getenv n2 N2
\connect - - - :n2
CREATE TABLE large (id int PRIMARY KEY, "The V" int, s text);
CREATE INDEX ON large ("The V");
INSERT INTO large SELECT i, i % 5000, 'text ' || i FROM generate_series(1, 50000) i;
CREATE VIEW large_view AS SELECT * FROM large;
\connect - - - :n1
CREATE FOREIGN TABLE large (id int, v int OPTIONS (column_name 'The V'), s text) SERVER s2;
CREATE FOREIGN TABLE large_view (id int, v int OPTIONS (column_name 'The V'), s text) SERVER s2;
CREATE FOREIGN TABLE absent (id int) SERVER s2;
CREATE TABLE few (k int, t text);
INSERT INTO few SELECT i * 100, 't' || i FROM generate_series(1, 10) i;
ANALYZE few;
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM few JOIN large ON large.id = few.k;
EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM few JOIN large ON large.v = few.k AND large.s > few.t;
SELECT few.k, large.* FROM few JOIN large ON large.id = few.k ORDER BY 1, 2 LIMIT 3;
SELECT few.k, count(*) FROM few JOIN large ON large.v = few.k GROUP BY 1 ORDER BY 1 LIMIT 3;
SELECT count(*), count(large.id) FROM few LEFT JOIN large ON large.id = few.k + 0 AND large.s < few.t;
-- without an index it is read once
EXPLAIN (COSTS OFF) SELECT * FROM few JOIN large ON large.s = few.t;
SELECT count(*) FROM few JOIN large_view ON large_view.id = few.k;
EXPLAIN (COSTS OFF) SELECT * FROM few JOIN absent ON absent.id = few.k;
SELECT count(*) FROM few JOIN absent ON absent.id = few.k;
-- a collation that the other side would not know of
SELECT count(*) FROM few JOIN large ON large.s = ('text ' || few.k) COLLATE "C";
DROP FOREIGN TABLE large, large_view, absent;
DROP TABLE few;
\connect - - - :n2
DROP VIEW large_view;
DROP TABLE large;
