-- Joins of partitions: on one node, across nodes, with what must stay here.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\set by_customer 'WITH (distributed_by = ''customer'', colocate_with = ''jn_customer'')'
\else
\set by_id ''
\set by_customer ''
\endif
CREATE TABLE jn_customer (id int PRIMARY KEY, name text, city int) :by_id;
CREATE TABLE jn_order (id int, customer int, total numeric, PRIMARY KEY (customer, id)) :by_customer;
-- as many partitions, but placed on its own
CREATE TABLE jn_apart (id int PRIMARY KEY, v int) :by_id;
\connect - - - :n2
INSERT INTO jn_customer SELECT i, 'c' || i, nullif(i % 5, 0) FROM generate_series(1, 100) i;
INSERT INTO jn_order SELECT i, i % 90 + 1, CASE WHEN i % 13 <> 0 THEN i * 1.5 END FROM generate_series(1, 500) i;
INSERT INTO jn_apart SELECT i, i * i FROM generate_series(1, 120) i;
\connect - - - :n3
SELECT c.name, o.total FROM jn_customer c JOIN jn_order o ON o.customer = c.id WHERE o.total < 20 AND c.name <> 'c3' ORDER BY o.id;
SELECT count(*), sum(a.total - b.total) FROM jn_customer c JOIN jn_order a ON a.customer = c.id JOIN jn_order b ON b.customer = c.id AND a.id < b.id;
-- Values that are no columns of the joined rows: of a sub-select, of functions.
SELECT (SELECT max(name) FROM jn_customer WHERE id < 9), 1, upper(c.name), now() IS NULL FROM jn_customer c JOIN jn_order o ON o.customer = c.id ORDER BY o.id LIMIT 3;
SELECT count(*) FROM (SELECT (SELECT v FROM jn_apart WHERE id = 5) AS w, 'x' FROM jn_customer c JOIN jn_order o ON o.customer = c.id OFFSET 0) s WHERE w = 25;
SELECT count(*) FROM (SELECT FROM jn_customer c JOIN jn_order o ON o.customer = c.id OFFSET 0) s;
SELECT c.id, count(*), avg(o.total) FROM jn_customer c JOIN jn_order o ON o.customer = c.id GROUP BY c.id HAVING sum(o.total) > 2800 ORDER BY c.id;
SELECT c.city, count(*), avg(o.total), sum(o.id * c.id) FROM jn_customer c JOIN jn_order o ON o.customer = c.id GROUP BY c.city ORDER BY c.city;
SELECT count(*), sum(p.v) FROM jn_customer c JOIN jn_apart p ON p.id = c.id;
SELECT count(*), sum(o.id + p.v) FROM jn_order o JOIN jn_apart p ON p.id = o.customer WHERE o.total > p.v;
SELECT count(*), sum(c.id) FROM jn_customer c LEFT JOIN jn_order o ON o.customer = c.id AND o.total > 600 WHERE o.id IS NULL;
SELECT count(*), sum(c.id), sum(o.id) FROM jn_customer c FULL JOIN jn_order o ON o.customer = c.id AND c.city = 1;
SELECT count(*) FROM jn_customer c WHERE EXISTS (SELECT FROM jn_order o WHERE o.customer = c.id AND o.total > 700);
SELECT count(*) FROM jn_customer c WHERE NOT EXISTS (SELECT FROM jn_order o WHERE o.customer = c.id);
SELECT count(*), sum(x.n) FROM jn_customer c JOIN (SELECT customer, count(*) AS n FROM jn_order GROUP BY customer) x ON x.customer = c.id WHERE c.city = 2;
SELECT count(c), max(c.name) FROM jn_customer c JOIN jn_order o ON o.customer = c.id WHERE random() >= 0;
SELECT count(*) FROM jn_customer c JOIN jn_order o ON o.customer = c.id AND o.total > c.id + floor(random());
SELECT c, o.id FROM jn_customer c JOIN jn_order o ON o.customer = c.id WHERE o.id < 4 ORDER BY o.id;
SELECT count(*) FROM jn_customer a, jn_customer b WHERE a.id = b.id AND a.city IS NOT DISTINCT FROM b.city;
PREPARE jn(int, text) AS SELECT c.name, o.total + $1 FROM jn_customer c JOIN jn_order o ON o.customer = c.id
  WHERE o.id < $1 AND c.name > $2 ORDER BY o.id;
EXECUTE jn(5, 'c3');
SET plan_cache_mode = force_generic_plan;
EXECUTE jn(6, 'c4');
EXECUTE jn(4, 'c2');
RESET plan_cache_mode;
DEALLOCATE jn;
SELECT x, (SELECT sum(o.total) FROM jn_customer c JOIN jn_order o ON o.customer = c.id WHERE c.city = x) FROM generate_series(1, 5) x ORDER BY x;
SELECT c.id, l.n FROM jn_customer c, LATERAL (SELECT count(*) AS n FROM jn_order o JOIN jn_customer d ON d.id = o.customer WHERE o.customer = c.id) l
  WHERE c.id < 4 ORDER BY c.id;
BEGIN;
SELECT c.name, o.id FROM jn_customer c JOIN jn_order o ON o.customer = c.id WHERE o.id < 4 ORDER BY o.id FOR UPDATE;
UPDATE jn_order o SET total = -1 FROM jn_customer c WHERE c.id = o.customer AND c.city = 3;
SELECT count(*) FROM jn_customer c JOIN jn_order o ON o.customer = c.id WHERE o.total = -1;
ROLLBACK;
-- a security condition comes before any other
CREATE VIEW jn_view WITH (security_barrier) AS SELECT * FROM jn_customer WHERE city = 1;
SELECT count(*) FROM jn_view v JOIN jn_order o ON o.customer = v.id WHERE o.total / (v.city - 1 + 1) > 5;
DROP VIEW jn_view;
DROP TABLE jn_apart;
DROP TABLE jn_order;
DROP TABLE jn_customer;
