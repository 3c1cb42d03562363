-- Colocated tables and keys of several columns and types.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_customer 'WITH (distributed_by = ''customer'', num_parts = 5)'
\set with_customer 'WITH (distributed_by = ''customer'', colocate_with = ''co_customer'')'
\set with_order 'WITH (distributed_by = ''customer'', colocate_with = ''co_order'')'
\set by_region_day 'WITH (distributed_by = ''region, day'', num_parts = 7)'
\set by_name 'WITH (distributed_by = ''name'', num_parts = 3)'
\else
\set by_customer ''
\set with_customer ''
\set with_order ''
\set by_region_day ''
\set by_name ''
\endif
CREATE TABLE co_customer (customer int PRIMARY KEY, name text) :by_customer;
\connect - - - :n2
CREATE TABLE co_order (id int, customer int, total numeric, PRIMARY KEY (customer, id)) :with_customer;
\connect - - - :n3
CREATE TABLE co_line (order_id int, customer int, line int, item text, PRIMARY KEY (customer, order_id, line)) :with_order;
INSERT INTO co_customer SELECT g, 'customer ' || g FROM generate_series(1, 20) g;
INSERT INTO co_order SELECT c * 10 + o, c, c * o FROM generate_series(1, 20) c, generate_series(1, 3) o;
INSERT INTO co_line SELECT o.id, o.customer, l, 'item ' || l FROM co_order o, generate_series(1, 2) l;
\connect - - - :n1
SELECT count(*) FROM co_line;
SELECT c.name, count(*), sum(o.total) FROM co_customer c JOIN co_order o USING (customer)
  WHERE c.customer <= 4 GROUP BY c.name ORDER BY c.name;
SELECT c.name, o.id, l.item FROM co_customer c JOIN co_order o USING (customer) JOIN co_line l ON l.customer = o.customer AND l.order_id = o.id
  WHERE c.customer = 7 ORDER BY o.id, l.line;
SELECT count(*) FROM co_order o LEFT JOIN co_line l ON l.customer = o.customer AND l.order_id = o.id AND l.line = 2 WHERE l.item IS NOT NULL;
SELECT count(*) FROM co_customer c WHERE EXISTS (SELECT FROM co_order o WHERE o.customer = c.customer AND o.total > 50);
UPDATE co_order o SET total = o.total + 1 FROM co_customer c WHERE c.customer = o.customer AND c.name = 'customer 3';
DELETE FROM co_line l USING co_order o WHERE o.customer = l.customer AND o.id = l.order_id AND o.total < 5;
\connect - - - :n2
SELECT id, total FROM co_order WHERE customer = 3 ORDER BY id;
SELECT count(*) FROM co_line;
BEGIN;
DELETE FROM co_line WHERE customer = 9;
DELETE FROM co_order WHERE customer = 9;
DELETE FROM co_customer WHERE customer = 9;
COMMIT;
SELECT (SELECT count(*) FROM co_customer), (SELECT count(*) FROM co_order), (SELECT count(*) FROM co_line);

-- two columns in the key
CREATE TABLE co_sales (region text, day date, amount int, PRIMARY KEY (region, day)) :by_region_day;
INSERT INTO co_sales SELECT r, date '2024-01-01' + d, d * length(r)
  FROM unnest('{north,south,east,west}'::text[]) r, generate_series(0, 9) d;
\connect - - - :n3
SELECT * FROM co_sales WHERE region = 'north' AND day = '2024-01-04';
SELECT region, sum(amount) FROM co_sales GROUP BY region ORDER BY region;
SELECT count(*) FROM co_sales WHERE region = 'east';

-- a text key, with values that hash and print with care
CREATE TABLE co_name (name text PRIMARY KEY, n int) :by_name;
INSERT INTO co_name VALUES ('', 0), ('a', 1), ('A', 2), ('ä', 3), ('it''s', 4), ('世界', 5), (E'line\nbreak', 6);
\connect - - - :n1
SELECT n, name FROM co_name ORDER BY n;
SELECT n FROM co_name WHERE name = 'it''s';
SELECT n FROM co_name WHERE name = '';
SELECT n FROM co_name WHERE name = E'line\nbreak';
SELECT n FROM co_name WHERE name IN ('A', 'ä', 'b') ORDER BY n;
DROP TABLE co_name;
DROP TABLE co_sales;
DROP TABLE co_line;
DROP TABLE co_order;
DROP TABLE co_customer;
