-- The option extensions: what is in extensions that both servers have is sent,
-- and means the same there.
\getenv n2 N2
\getenv n1 N1
\connect - - - :n2
SET client_min_messages = warning;
CREATE EXTENSION citext;
CREATE TABLE ext_t (id int, name citext);
INSERT INTO ext_t VALUES (1, 'Ann'), (2, 'BOB'), (3, 'ann'), (4, NULL);
\connect - - - :n1
SET client_min_messages = warning;
CREATE EXTENSION citext;
CREATE FOREIGN TABLE ext_t (id int, name citext) SERVER s2;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM ext_t WHERE name = 'ANN';
SELECT id FROM ext_t WHERE name = 'ANN' ORDER BY id;
ALTER SERVER s2 OPTIONS (ADD extensions 'plpgsql, citext');
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM ext_t WHERE name = 'ANN';
SELECT id FROM ext_t WHERE name = 'ANN' ORDER BY id;
PREPARE by_name(citext) AS SELECT id FROM ext_t WHERE name = $1 ORDER BY id;
EXECUTE by_name('bob');
SELECT count(*) FROM ext_t WHERE citext_eq(name, 'ann'::citext);
-- what is in no extension, or in none that was named, stays here
CREATE FUNCTION ext_f(citext) RETURNS citext LANGUAGE sql IMMUTABLE AS 'SELECT $1 LIMIT 1';
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM ext_t WHERE ext_f(name) = 'ANN';
ALTER SERVER s2 OPTIONS (SET extensions 'plpgsql');
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM ext_t WHERE name = 'ANN';
-- clean up
ALTER SERVER s2 OPTIONS (DROP extensions);
DROP FOREIGN TABLE ext_t;
DROP FUNCTION ext_f;
DROP EXTENSION citext;
\connect - - - :n2
DROP TABLE ext_t;
DROP EXTENSION citext;
