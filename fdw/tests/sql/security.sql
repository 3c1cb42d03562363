-- A condition that could tell what a security condition hides is not sent.
\c - - - :n2port
CREATE TABLE s (id int, owner text, secret text); INSERT INTO s VALUES (1, 'x', 'not a number');
\c - - - :n1port
CREATE FOREIGN TABLE s (id int, owner text, secret text) SERVER s2;
CREATE VIEW sv WITH (security_barrier) AS SELECT * FROM s WHERE owner = 'me' OR random() < 0;
EXPLAIN (VERBOSE, COSTS off) SELECT * FROM sv WHERE secret::int > 5 AND id = 1;
SELECT * FROM sv WHERE secret::int > 5 AND id = 1;
CREATE VIEW sv2 WITH (security_barrier) AS SELECT * FROM s WHERE owner = 'me';
EXPLAIN (VERBOSE, COSTS off) SELECT * FROM sv2 WHERE secret::int > 5 AND id = 1;
SELECT * FROM sv2 WHERE secret::int > 5 AND id = 1;
