-- A condition that could tell what a security condition hides is not sent.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\connect - - - :n2
CREATE TABLE s (id int, owner text, secret text); INSERT INTO s VALUES (1, 'x', 'not a number');
\connect - - - :n1
CREATE FOREIGN TABLE s (id int, owner text, secret text) SERVER s2;
CREATE VIEW sv WITH (security_barrier) AS SELECT * FROM s WHERE owner = 'me' OR random() < 0;
EXPLAIN (VERBOSE, COSTS off) SELECT * FROM sv WHERE secret::int > 5 AND id = 1;
SELECT * FROM sv WHERE secret::int > 5 AND id = 1;
CREATE VIEW sv2 WITH (security_barrier) AS SELECT * FROM s WHERE owner = 'me';
EXPLAIN (VERBOSE, COSTS off) SELECT * FROM sv2 WHERE secret::int > 5 AND id = 1;
SELECT * FROM sv2 WHERE secret::int > 5 AND id = 1;
-- clean up
\set VERBOSITY default
\connect - - - :n3
SET client_min_messages = warning;
DROP SCHEMA public CASCADE; CREATE SCHEMA public;
\connect - - - :n2
SET client_min_messages = warning;
DROP SCHEMA public CASCADE; CREATE SCHEMA public;
\connect - - - :n1
SET client_min_messages = warning;
DROP SCHEMA public CASCADE; CREATE SCHEMA public;
