-- ANALYZE of foreign tables: by a sample that the other side picks.
\getenv n1 N1
\getenv n2 N2
\connect - - - :n2
CREATE TABLE an (id int PRIMARY KEY, v int, s text);
INSERT INTO an SELECT i, i % 50, 's' || i FROM generate_series(1, 40000) i;
CREATE VIEW an_view AS SELECT * FROM an;
CREATE TABLE an_empty (id int);
\connect - - - :n1
SET default_statistics_target = 10;
CREATE FOREIGN TABLE an (id int, v int, s text) SERVER s2;
CREATE FOREIGN TABLE an_view (id int, v int, s text) SERVER s2;
CREATE FOREIGN TABLE an_empty (id int) SERVER s2;
CREATE VIEW seen AS
  SELECT c.relname, round(c.reltuples::numeric, -4) AS rows, c.relpages > 100 AS has_pages,
    (SELECT s.n_distinct BETWEEN 40 AND 60 FROM pg_stats s WHERE s.tablename = c.relname AND attname = 'v') AS v,
    (SELECT s.n_distinct FROM pg_stats s WHERE s.tablename = c.relname AND attname = 'id') AS id,
    (SELECT array_length(histogram_bounds::text::int[], 1) FROM pg_stats s WHERE s.tablename = c.relname AND attname = 'id') AS bounds
  FROM pg_class c WHERE c.relname LIKE 'an%' AND relkind = 'f' ORDER BY 1;
-- nobody has counted over there
ANALYZE an, an_view, an_empty;
SELECT * FROM seen;
\connect - - - :n2
ANALYZE an;
\connect - - - :n1
SET default_statistics_target = 10;
ANALYZE an; SELECT * FROM seen WHERE relname = 'an';
ALTER FOREIGN TABLE an OPTIONS (ADD analyze_sampling 'system');
ANALYZE an; SELECT relname, rows, has_pages, bounds FROM seen WHERE relname = 'an';
ALTER FOREIGN TABLE an OPTIONS (SET analyze_sampling 'random');
ANALYZE an; SELECT * FROM seen WHERE relname = 'an';
ALTER FOREIGN TABLE an OPTIONS (SET analyze_sampling 'bernoulli');
ANALYZE an; SELECT * FROM seen WHERE relname = 'an';
ALTER FOREIGN TABLE an OPTIONS (SET analyze_sampling 'off');
ANALYZE an; SELECT reltuples FROM pg_class WHERE relname = 'an';
SELECT * FROM seen WHERE relname = 'an';
-- all rows, since the sample has room for them
SET default_statistics_target = 1000;
ALTER FOREIGN TABLE an OPTIONS (DROP analyze_sampling);
ANALYZE an; SELECT reltuples FROM pg_class WHERE relname = 'an';
RESET default_statistics_target;
-- it follows a table that grows without being counted again
\connect - - - :n2
ALTER TABLE an SET (autovacuum_enabled = off);
INSERT INTO an SELECT i, i % 50, 's' || i FROM generate_series(40001, 120000) i;
\connect - - - :n1
SET default_statistics_target = 10;
ANALYZE an; SELECT * FROM seen WHERE relname = 'an';
ALTER SERVER s2 OPTIONS (ADD analyze_sampling 'fast');
ALTER SERVER s2 OPTIONS (ADD analyze_sampling 'off');
ALTER SERVER s2 OPTIONS (DROP analyze_sampling);
DROP VIEW seen;
DROP FOREIGN TABLE an, an_view, an_empty;
\connect - - - :n2
DROP VIEW an_view;
DROP TABLE an, an_empty;
