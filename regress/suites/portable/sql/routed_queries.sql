-- Statements of several queries that are about one value of the distribution column:
-- views, CTEs, subqueries, rows of VALUES, and what triggers and policies add to them.
-- One key after the other, so that every partition is met, here and elsewhere.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
SET shardman.broadcast_ddl = on;
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\set with_rq 'WITH (distributed_by = ''id'', colocate_with = ''rq'')'
\set by_tenant 'WITH (distributed_by = ''tenant'', num_parts = 6)'
\else
\set by_id ''
\set with_rq ''
\set by_tenant ''
\endif
CREATE TABLE rq (id int PRIMARY KEY, v int, w text DEFAULT 'none', CHECK (v < 1000)) :by_id;
CREATE TABLE rq_item (id int, n int, x text, PRIMARY KEY (id, n)) :with_rq;
INSERT INTO rq SELECT g, g * 10, 'w' || g FROM generate_series(1, 24) g;
INSERT INTO rq_item SELECT g, n, 'x' || n FROM generate_series(1, 24) g, generate_series(1, 3) n;
CREATE VIEW rq_both AS SELECT rq.id, rq.v, i.n, i.x FROM rq JOIN rq_item i ON i.id = rq.id;
CREATE VIEW rq_left AS SELECT i.id, rq.v, i.n FROM rq_item i LEFT JOIN rq ON rq.id = i.id AND rq.v > 50;
CREATE VIEW rq_sums AS SELECT id, count(*) AS c, sum(n) AS s FROM rq_item GROUP BY id;
CREATE VIEW rq_total AS SELECT max(id) AS id, sum(n) AS s FROM rq_item;
CREATE VIEW rq_first AS SELECT id, v FROM rq ORDER BY v DESC LIMIT 2;
CREATE VIEW rq_small WITH (security_barrier) AS SELECT id, v, w FROM rq WHERE v < 100;
CREATE VIEW rq_even AS SELECT id, v FROM rq WHERE v % 20 = 0 WITH CHECK OPTION;

-- views
SELECT * FROM rq_both WHERE id = 1 ORDER BY n;
SELECT * FROM rq_left WHERE id = 2 ORDER BY n;
SELECT * FROM rq_left WHERE id = 7 ORDER BY n;
SELECT * FROM rq_sums WHERE id = 3;
SELECT * FROM rq_total WHERE id = 24;
SELECT * FROM rq_first WHERE id = 24;
SELECT * FROM rq_first WHERE id = 1;
SELECT * FROM rq_small WHERE id = 4;
SELECT * FROM rq_small WHERE id = 14;
SELECT * FROM rq_small WHERE id = 5 AND w LIKE 'w%' AND 1 / (v - 140) < 1;
SELECT b.x, s.c FROM rq_both b JOIN rq_sums s ON s.id = b.id WHERE b.id = 6 AND b.n = 2;
\c - - - :n2
UPDATE rq_even SET v = v + 20 WHERE id = 8 RETURNING *;
\set VERBOSITY sqlstate
UPDATE rq_even SET v = v + 1 WHERE id = 8;
UPDATE rq_even SET v = 0 WHERE id = 9 RETURNING *;
INSERT INTO rq_even VALUES (31, 40) RETURNING *;
INSERT INTO rq_even VALUES (32, 41);
\set VERBOSITY default
DELETE FROM rq_even WHERE id = 31 RETURNING *;
UPDATE rq_small SET v = v + 1 WHERE id = 1 RETURNING *;
DELETE FROM rq_small WHERE id = 20 RETURNING *;

-- WITH
WITH x AS (SELECT * FROM rq WHERE id = 10) SELECT x.v, i.x FROM x JOIN rq_item i USING (id) ORDER BY i.x;
WITH x AS MATERIALIZED (SELECT * FROM rq) SELECT v FROM x WHERE id = 11;
WITH x AS (SELECT * FROM rq WHERE id = 12), y AS (SELECT n FROM rq_item WHERE id = 12 AND n > 1)
SELECT x.id, (SELECT sum(n) FROM y), (SELECT count(*) FROM y) FROM x;
WITH x AS (SELECT * FROM rq WHERE id IN (13, 14)) SELECT v FROM x WHERE id = 13;
WITH x AS (SELECT id, v FROM rq ORDER BY v LIMIT 3) SELECT * FROM x WHERE id = 1;
WITH x AS (SELECT * FROM rq) SELECT a.v, b.v FROM x a, x b WHERE a.id = 1 AND b.id = 2;
WITH d AS (DELETE FROM rq_item WHERE id = 1 AND n = 3 RETURNING *) SELECT * FROM d;

-- subqueries
\c - - - :n3
SELECT v, (SELECT max(n) FROM rq_item i WHERE i.id = rq.id) AS most FROM rq WHERE id = 15;
SELECT v FROM rq WHERE id = 16 AND EXISTS (SELECT FROM rq_item i WHERE i.id = 16 AND n = 2);
SELECT v FROM rq WHERE id = 17 AND NOT EXISTS (SELECT FROM rq_item i WHERE i.id = rq.id AND n = 4);
SELECT v FROM rq WHERE id = 18 AND id IN (SELECT id FROM rq_item WHERE n = 1);
SELECT v FROM rq WHERE id = 18 AND 3 = ALL (SELECT n + 2 FROM rq_item i WHERE i.id = 18 AND n < 2);
SELECT v, ARRAY(SELECT n FROM rq_item i WHERE i.id = rq.id ORDER BY n DESC) FROM rq WHERE id = 19;
SELECT v FROM rq WHERE id = 21 AND v > (SELECT avg(v) FROM rq);
SELECT s.v, s.id FROM (SELECT id, v FROM rq) s WHERE s.id = 21;
SELECT s.m FROM (SELECT id, max(n) AS m FROM rq_item GROUP BY id HAVING count(*) > 2) s WHERE id = 22;
SELECT r.id, l.n FROM rq r, LATERAL (SELECT n FROM rq_item i WHERE i.id = r.id ORDER BY n DESC LIMIT 1) l WHERE r.id = 23;
SELECT r.id, l.n FROM rq r LEFT JOIN LATERAL (SELECT n FROM rq_item i WHERE i.id = r.id AND n > 9) l ON true WHERE r.id = 23;
SELECT id, 'rq' AS what FROM rq WHERE id = 24 UNION ALL SELECT n, x FROM rq_item WHERE id = 24 ORDER BY 1, 2;
SELECT id FROM rq WHERE id = 3 INTERSECT SELECT id FROM rq_item WHERE id = 3;
SELECT v FROM (SELECT id, v FROM rq WHERE v > 50 UNION SELECT id, n FROM rq_item) u WHERE id = 4 ORDER BY v;
SELECT DISTINCT ON (id) id, n FROM rq_item WHERE id = 5 ORDER BY id, n DESC;
SELECT * FROM (SELECT DISTINCT ON (n) n, id FROM rq_item ORDER BY n, id DESC) d WHERE id = 24 ORDER BY n;
SELECT 1 / (SELECT n - n FROM rq_item WHERE id = 6 AND n = 1) FROM rq WHERE id = 6;
\set VERBOSITY terse
SELECT (SELECT n FROM rq_item WHERE id = 7) FROM rq WHERE id = 7;
\set VERBOSITY sqlstate
PREPARE sub (int, int) AS
    SELECT r.v, (SELECT string_agg(x, ',' ORDER BY n) FROM rq_item i WHERE i.id = r.id AND n <= $2) FROM rq r WHERE id = $1;
EXECUTE sub (1, 1); EXECUTE sub (2, 2); EXECUTE sub (3, 3); EXECUTE sub (4, 1);
EXECUTE sub (5, 2); EXECUTE sub (6, 3); EXECUTE sub (7, 0); EXECUTE sub (8, 9); EXECUTE sub (NULL, 9);

-- writes with subqueries
UPDATE rq SET v = (SELECT sum(n) FROM rq_item i WHERE i.id = rq.id) WHERE id = 10 RETURNING *;
UPDATE rq SET (v, w) = (SELECT max(n), max(x) FROM rq_item i WHERE i.id = 11) WHERE id = 11 RETURNING *;
UPDATE rq SET v = s.c FROM (SELECT count(*) AS c FROM rq_item WHERE id = 12) s WHERE id = 12 RETURNING rq.*;
DELETE FROM rq_item WHERE id = 13 AND n IN (SELECT v / 130 FROM rq WHERE id = 13) RETURNING *;
DELETE FROM rq_item i USING rq WHERE rq.id = i.id AND i.id = 14 AND rq.v = 140 AND n = 3 RETURNING i.*;
INSERT INTO rq_item SELECT id, 20, w FROM rq WHERE id = 15 RETURNING *;
INSERT INTO rq_item SELECT 16, v, w FROM rq WHERE id = 17 RETURNING *;
INSERT INTO rq_item SELECT 18, n + 50, x FROM rq_item WHERE id = 18 RETURNING *;
INSERT INTO rq_item SELECT id + 1, n + 60, x FROM rq_item WHERE id = 18 AND n < 3 RETURNING *;
INSERT INTO rq VALUES (40, (SELECT max(v) FROM rq WHERE id = 5)) RETURNING *;
INSERT INTO rq VALUES ((SELECT 41), 1) RETURNING *;

-- rows of VALUES
\c - - - :n1
INSERT INTO rq_item VALUES (1, 30, 'a'), (1, 31, 'b') RETURNING *;
INSERT INTO rq_item (n, id) VALUES (30, 2), (31, 2), (32, 2);
INSERT INTO rq_item VALUES (3, 30, 'a'), (4, 30, 'b') RETURNING *;
INSERT INTO rq_item VALUES (4, 40, 'a'), (4, 40, 'b');
INSERT INTO rq_item VALUES (4, 41, 'a'), (4, 42, 1 / 0);
INSERT INTO rq (id, v) VALUES (42, 1000), (42, 1);
INSERT INTO rq_item (x, id, n) VALUES (random()::int / 2, 7, 30), ('c', 7, 31) RETURNING id, n;
PREPARE two (int, int) AS INSERT INTO rq_item VALUES ($1, $2, 'p'), ($1, $2 + 1, now()::date - current_date) RETURNING *;
EXECUTE two (6, 100); EXECUTE two (7, 100); EXECUTE two (8, 100); EXECUTE two (9, 100);
EXECUTE two (10, 100); EXECUTE two (11, 100); EXECUTE two (12, 100); EXECUTE two (13, 100);
SELECT count(*), sum(id), sum(n) FROM rq_item;
SELECT count(*), sum(id), sum(v) FROM rq;

-- columns that were dropped before the partition was made, and after
CREATE TABLE rq_old (gone int, id int PRIMARY KEY, a int, e int, off text, b text DEFAULT 'b', c int GENERATED ALWAYS AS (a + 1) STORED) :by_id;
INSERT INTO rq_old (id, a) SELECT g, g FROM generate_series(1, 12) g;
ALTER TABLE rq_old DROP COLUMN gone;
ALTER TABLE rq_old ALTER COLUMN e TYPE bigint;
ALTER TABLE rq_old DROP COLUMN off;
ALTER TABLE rq_old ADD COLUMN d int DEFAULT 7;
SELECT * FROM rq_old WHERE id = 1;
SELECT x.d, x.p FROM rq_old AS x (p, q) WHERE p = 2 AND q = 2;
SELECT o.b, (SELECT max(i.a) FROM rq_old i WHERE i.id = o.id AND i.d = o.d) FROM rq_old o WHERE o.id = 3;
SELECT o FROM rq_old o WHERE id = 4;
UPDATE rq_old SET d = a, b = b || d WHERE id = 5 RETURNING *;
INSERT INTO rq_old (d, id) VALUES (1, 21) RETURNING *;
INSERT INTO rq_old (b, id, d) VALUES ('x', 22, 1), ('y', 22, 2) ON CONFLICT DO NOTHING RETURNING *;
INSERT INTO rq_old (id, a) SELECT 6, a FROM rq_old WHERE id = 6 ON CONFLICT DO NOTHING;
INSERT INTO rq_old (a, id) SELECT a + 100, id + 30 FROM rq_old WHERE id IN (7, 8);
INSERT INTO rq_old (a, id) SELECT n, 50 FROM rq_item WHERE id = 50 UNION ALL SELECT 1, 50 RETURNING *;
WITH one AS (SELECT a FROM rq_old WHERE id = 51), two AS (SELECT 51 AS id)
INSERT INTO rq_old (id, a) SELECT 51, (SELECT count(*) FROM one) + id FROM two RETURNING *;
DELETE FROM rq_old WHERE id = 7 AND d = 7 RETURNING *;
PREPARE old (int) AS SELECT d, c, b, a FROM rq_old WHERE id = $1 AND d > 0;
EXECUTE old (1); EXECUTE old (2); EXECUTE old (3); EXECUTE old (4); EXECUTE old (8); EXECUTE old (9); EXECUTE old (10);
DROP TABLE rq_old;

-- row triggers are the partition's, statement triggers the table's
\if :sharded
SET shardman.broadcast_ddl = on;
\endif
CREATE FUNCTION rq_before() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.v = 13 THEN RETURN NULL; END IF;
    NEW.w := coalesce(NEW.w, '') || lower(left(TG_OP, 1));
    RETURN NEW;
END $$;
CREATE FUNCTION rq_after() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO rq_item VALUES (OLD.id, 900 + OLD.v % 100, TG_OP);
    RETURN NULL;
END $$;
CREATE TRIGGER rq_before BEFORE INSERT OR UPDATE ON rq FOR EACH ROW EXECUTE FUNCTION rq_before();
CREATE TRIGGER rq_after AFTER DELETE ON rq FOR EACH ROW WHEN (OLD.v <> 7) EXECUTE FUNCTION rq_after();
\c - - - :n2
INSERT INTO rq VALUES (51, 1) RETURNING *;
INSERT INTO rq VALUES (52, 13) RETURNING *;
INSERT INTO rq VALUES (53, 3), (53, 4) ON CONFLICT DO NOTHING RETURNING *;
UPDATE rq SET v = 5 WHERE id = 51 RETURNING *;
UPDATE rq SET v = 13 WHERE id = 51 RETURNING *;
UPDATE rq SET v = 2000 WHERE id = 51;
DELETE FROM rq WHERE id = 51 RETURNING *;
DELETE FROM rq WHERE id = 22 RETURNING *;
SELECT * FROM rq_item WHERE n > 900 ORDER BY id;
\if :sharded
SET shardman.broadcast_ddl = on;
\endif
CREATE FUNCTION rq_said() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE NOTICE '% % of %', TG_WHEN, TG_OP, TG_TABLE_NAME; RETURN NULL; END $$;
CREATE TRIGGER rq_said AFTER UPDATE ON rq FOR EACH STATEMENT EXECUTE FUNCTION rq_said();
UPDATE rq SET v = 6 WHERE id = 2 RETURNING *;
INSERT INTO rq VALUES (54, 1) RETURNING *;
DROP TRIGGER rq_said ON rq;
UPDATE rq SET v = 8 WHERE id = 3 RETURNING *;

-- policies
\set VERBOSITY terse
CREATE TABLE rq_docs (tenant int, id int, body text, writer name DEFAULT 'nobody', PRIMARY KEY (tenant, id)) :by_tenant;
INSERT INTO rq_docs SELECT t, i, 'b' || i FROM generate_series(1, 8) t, generate_series(1, 3) i;
CREATE ROLE rq_user;
ALTER TABLE rq_docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY rq_tenant ON rq_docs USING (tenant = current_setting('app.tenant')::int);
GRANT SELECT, INSERT, UPDATE, DELETE ON rq_docs TO rq_user;
GRANT SELECT ON rq_both, rq_small TO rq_user;
SET ROLE rq_user;
SELECT * FROM rq_both WHERE id = 5 AND n = 2;
SELECT v FROM rq WHERE id = 5;
SELECT * FROM rq_docs WHERE tenant = 1;
SET app.tenant = '3';
SELECT * FROM rq_docs WHERE tenant = 3 ORDER BY id;
SELECT * FROM rq_docs WHERE tenant = 4;
SELECT count(*) FROM rq_docs;
SELECT * FROM rq_docs WHERE tenant = 3 AND 1 / (id - 2) > 0 ORDER BY id;
UPDATE rq_docs SET body = 'new' WHERE id = 2 RETURNING *;
UPDATE rq_docs SET body = 'new' WHERE tenant = 4 RETURNING *;
UPDATE rq_docs SET tenant = 5 WHERE id = 1;
INSERT INTO rq_docs VALUES (3, 9, 'x') RETURNING *;
INSERT INTO rq_docs VALUES (4, 9, 'x');
INSERT INTO rq_docs VALUES (NULL, 9, 'x');
INSERT INTO rq_docs VALUES (3, 10, 'x'), (3, 11, 'y') RETURNING *;
INSERT INTO rq_docs VALUES (3, 12, 'x'), (4, 12, 'y');
INSERT INTO rq_docs VALUES (1, 12, 'x'), (2, 12, 'y'), (5, 12, 'z'), (7, 12, 'z');
UPDATE rq_docs SET tenant = id + 4, body = 'moved';
DELETE FROM rq_docs WHERE id = 3 RETURNING *;
SET app.tenant = '6';
SELECT * FROM rq_docs ORDER BY id;
DELETE FROM rq_docs RETURNING id;
RESET ROLE;
\if :sharded
SET shardman.broadcast_ddl = on;
\endif
CREATE POLICY rq_own ON rq_docs AS RESTRICTIVE FOR INSERT WITH CHECK (writer = current_user);
SET ROLE rq_user;
SET app.tenant = '7';
INSERT INTO rq_docs VALUES (7, 9, 'x', 'rq_user') RETURNING *;
INSERT INTO rq_docs VALUES (7, 10, 'x');
INSERT INTO rq_docs VALUES (8, 10, 'x', 'rq_user');
RESET ROLE;
SELECT tenant, id, body, writer FROM rq_docs WHERE body !~ '^b' ORDER BY 1, 2;
DROP TABLE rq_docs;
DROP VIEW rq_both, rq_left, rq_sums, rq_total, rq_first, rq_small, rq_even;
DROP TABLE rq_item, rq;
DROP FUNCTION rq_before(), rq_after(), rq_said();
DROP ROLE rq_user;
