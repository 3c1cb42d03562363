-- Joins, aggregates, subqueries, window functions, CTEs and set operations.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\else
\set by_id ''
\endif
CREATE TABLE q_dept (id int PRIMARY KEY, name text) :by_id;
CREATE TABLE q_emp (id int PRIMARY KEY, dept int, boss int, name text, salary numeric(10, 2), hired date) :by_id;
INSERT INTO q_dept VALUES (1, 'sales'), (2, 'research'), (3, 'support'), (4, 'empty');
\connect - - - :n2
INSERT INTO q_emp
  SELECT g, CASE WHEN g % 10 = 0 THEN NULL ELSE g % 3 + 1 END, CASE WHEN g > 1 THEN g / 2 END,
         'emp ' || g, 1000 + g * 37 % 500, date '2020-01-01' + g * 11
  FROM generate_series(1, 60) g;

-- aggregates
\connect - - - :n3
SELECT count(*), count(dept), count(DISTINCT dept), sum(salary), min(hired), max(hired), round(avg(salary), 4) FROM q_emp;
SELECT dept, count(*), sum(salary), round(avg(salary), 2) FROM q_emp GROUP BY dept ORDER BY dept NULLS FIRST;
SELECT dept, count(*) FROM q_emp GROUP BY dept HAVING count(*) > 17 ORDER BY dept;
SELECT dept, count(*) FILTER (WHERE salary > 1200), string_agg(name, ',' ORDER BY id) FILTER (WHERE id < 10)
  FROM q_emp GROUP BY dept ORDER BY dept NULLS LAST;
SELECT dept, extract(year FROM hired) AS year, count(*) FROM q_emp GROUP BY GROUPING SETS ((dept), (extract(year FROM hired)), ())
  ORDER BY 1, 2, 3;
SELECT array_agg(id ORDER BY id DESC) FROM q_emp WHERE salary > 1450;
SELECT bool_and(salary > 0), bool_or(dept IS NULL), max(name COLLATE "C") FROM q_emp;
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY salary), mode() WITHIN GROUP (ORDER BY dept) FROM q_emp;
SELECT sum(salary) FROM q_emp WHERE id > 1000;
SELECT DISTINCT dept FROM q_emp ORDER BY dept;
SELECT DISTINCT ON (dept) dept, id, salary FROM q_emp ORDER BY dept, salary DESC, id;

-- joins
SELECT d.name, count(e.id) FROM q_dept d LEFT JOIN q_emp e ON e.dept = d.id GROUP BY d.name ORDER BY d.name;
SELECT e.name, d.name FROM q_emp e JOIN q_dept d ON d.id = e.dept WHERE e.id <= 5 ORDER BY e.id;
SELECT e.id, b.id AS boss, d.name FROM q_emp e JOIN q_emp b ON b.id = e.boss LEFT JOIN q_dept d ON d.id = b.dept
  WHERE e.id BETWEEN 18 AND 23 ORDER BY e.id;
SELECT count(*) FROM q_emp e FULL JOIN q_dept d ON d.id = e.dept;
SELECT count(*) FROM q_emp a CROSS JOIN q_dept b;
SELECT count(*) FROM q_emp a JOIN q_emp b USING (id) WHERE a.salary = b.salary;
SELECT count(*) FROM q_emp a JOIN q_emp b ON a.salary < b.salary AND a.dept = b.dept;
SELECT d.name, x.id, x.salary FROM q_dept d,
  LATERAL (SELECT e.id, e.salary FROM q_emp e WHERE e.dept = d.id ORDER BY e.salary DESC, e.id LIMIT 2) x
  ORDER BY d.name, x.salary DESC, x.id;
SELECT v.k, e.name FROM (VALUES (3), (7), (70)) v(k) LEFT JOIN q_emp e ON e.id = v.k ORDER BY v.k;

-- subqueries
\connect - - - :n1
SELECT id, salary FROM q_emp WHERE salary = (SELECT max(salary) FROM q_emp) ORDER BY id;
SELECT name FROM q_dept d WHERE NOT EXISTS (SELECT FROM q_emp e WHERE e.dept = d.id);
SELECT id FROM q_emp WHERE dept IN (SELECT id FROM q_dept WHERE name LIKE 's%') AND id < 10 ORDER BY id;
SELECT id FROM q_emp WHERE dept NOT IN (SELECT id FROM q_dept WHERE id > 1) ORDER BY id LIMIT 5;
SELECT e.id, e.salary FROM q_emp e
  WHERE e.salary > (SELECT avg(s.salary) + 200 FROM q_emp s WHERE s.dept = e.dept) ORDER BY e.id;
SELECT d.id, (SELECT count(*) FROM q_emp e WHERE e.dept = d.id) AS n FROM q_dept d ORDER BY d.id;
SELECT id FROM q_emp WHERE salary >= ALL (SELECT salary FROM q_emp WHERE dept = 2) AND dept = 2;
SELECT id FROM q_emp WHERE (dept, boss) = (SELECT 2, 5) ORDER BY id;

-- window functions
SELECT id, dept, salary, rank() OVER (PARTITION BY dept ORDER BY salary DESC, id) AS r FROM q_emp WHERE id <= 12 ORDER BY dept NULLS LAST, r;
SELECT id, sum(salary) OVER (ORDER BY id), lag(id) OVER w, lead(salary, 2, 0) OVER w
  FROM q_emp WHERE id <= 8 WINDOW w AS (ORDER BY id) ORDER BY id;
SELECT id, round(avg(salary) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING), 2) FROM q_emp WHERE dept = 1 AND id < 30 ORDER BY id;
SELECT * FROM (SELECT id, dept, row_number() OVER (PARTITION BY dept ORDER BY id) AS n FROM q_emp) s WHERE n = 2 ORDER BY id;

-- CTEs
\connect - - - :n2
WITH rich AS (SELECT * FROM q_emp WHERE salary > 1400), poor AS MATERIALIZED (SELECT * FROM q_emp WHERE salary < 1040)
  SELECT (SELECT count(*) FROM rich), (SELECT count(*) FROM poor);
WITH RECURSIVE chain AS (
    SELECT id, boss, 0 AS depth FROM q_emp WHERE id = 60
    UNION ALL SELECT e.id, e.boss, depth + 1 FROM q_emp e JOIN chain c ON e.id = c.boss)
  SELECT * FROM chain ORDER BY depth;

-- set operations, order, limits
SELECT id FROM q_dept UNION SELECT dept FROM q_emp ORDER BY 1 NULLS FIRST;
SELECT id FROM q_dept EXCEPT SELECT dept FROM q_emp ORDER BY 1;
SELECT id FROM q_dept INTERSECT ALL SELECT dept FROM q_emp ORDER BY 1;
SELECT id FROM q_emp ORDER BY salary DESC, id LIMIT 5;
SELECT id FROM q_emp ORDER BY id OFFSET 55;
SELECT id FROM q_emp ORDER BY id DESC OFFSET 3 LIMIT 3;
SELECT id, salary FROM q_emp ORDER BY salary DESC FETCH FIRST 3 ROWS WITH TIES;
SELECT id FROM q_emp LIMIT 0;

-- expressions of many kinds in conditions
SELECT id FROM q_emp WHERE CASE WHEN dept = 1 THEN salary > 1400 ELSE id < 3 END ORDER BY id;
SELECT id FROM q_emp WHERE coalesce(dept, 9) = 9 ORDER BY id;
SELECT id FROM q_emp WHERE name ~ '^emp [12]$' ORDER BY id;
SELECT id FROM q_emp WHERE dept IS DISTINCT FROM 1 AND id < 8 ORDER BY id;
SELECT id FROM q_emp WHERE id = ANY (ARRAY[4, 5, 61]) ORDER BY id;
SELECT id FROM q_emp WHERE hired >= date '2021-09-01' AND extract(month FROM hired) = 9 ORDER BY id;
DROP TABLE q_emp;
DROP TABLE q_dept;
