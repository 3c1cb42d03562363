-- Views and what is local to a node around sharded tables: plain and
-- materialized views, temporary tables, CREATE TABLE AS and SELECT INTO.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\else
\set by_id ''
\endif
CREATE TABLE view_t (id int PRIMARY KEY, kind text, n int) :by_id;
INSERT INTO view_t SELECT g, chr(96 + g % 4 + 1), g FROM generate_series(1, 20) g;
\connect - - - :n2
CREATE VIEW view_sum AS SELECT kind, count(*) AS rows, sum(n) AS total FROM view_t GROUP BY kind;
SELECT * FROM view_sum ORDER BY kind;
CREATE VIEW view_a AS SELECT id, n FROM view_t WHERE kind = 'a' WITH CHECK OPTION;
SELECT * FROM view_a ORDER BY id;
UPDATE view_a SET n = n * 100 WHERE id = 4;
DELETE FROM view_a WHERE id = 8;
SELECT v.id, s.total FROM view_a v, view_sum s WHERE s.kind = 'b' ORDER BY v.id;
CREATE MATERIALIZED VIEW view_mat AS SELECT kind, max(n) AS top FROM view_t GROUP BY kind;
SELECT * FROM view_mat ORDER BY kind;
INSERT INTO view_t VALUES (100, 'c', 1000);
REFRESH MATERIALIZED VIEW view_mat;
SELECT * FROM view_mat ORDER BY kind;
DROP MATERIALIZED VIEW view_mat;

-- local tables beside sharded ones
CREATE TEMPORARY TABLE view_tmp AS SELECT * FROM view_t WHERE n > 15;
SELECT count(*) FROM view_tmp;
INSERT INTO view_t SELECT id + 1000, kind, n FROM view_tmp;
SELECT count(*) FROM view_t WHERE id > 1000;
UPDATE view_t SET n = 0 FROM view_tmp x WHERE x.id = view_t.id;
CREATE TABLE view_local (id int PRIMARY KEY, label text);
INSERT INTO view_local VALUES (1, 'uno'), (2, 'dos'), (1020, 'mil veinte');
SELECT t.id, l.label, t.n FROM view_local l JOIN view_t t USING (id) ORDER BY id;
SELECT kind, n INTO view_into FROM view_t WHERE id < 4;
SELECT * FROM view_into ORDER BY n;
DROP TABLE view_local;
DROP TABLE view_into;
DROP VIEW view_a;
DROP VIEW view_sum;
\connect - - - :n3
SELECT count(*), sum(n) FROM view_t;
DROP TABLE view_t;
