-- Point statements: whatever is fixed to one value of the distribution column
-- means what it means on one server, through every node, in every form.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\set with_ro 'WITH (distributed_by = ''id'', colocate_with = ''ro'')'
\set by_both 'WITH (distributed_by = ''a, b'', num_parts = 6)'
\set by_k 'WITH (distributed_by = ''k'', num_parts = 6)'
\else
\set by_id ''
\set with_ro ''
\set by_both ''
\set by_k ''
\endif
CREATE TABLE ro (
    id bigint PRIMARY KEY,
    v text DEFAULT 'none',
    n int,
    twice int GENERATED ALWAYS AS (n * 2) STORED,
    at timestamptz DEFAULT now(),
    CONSTRAINT ro_small CHECK (n < 1000)
) :by_id;
CREATE TABLE ro_item (id bigint, pos int, what text, PRIMARY KEY (id, pos)) :with_ro;
INSERT INTO ro (id, n) SELECT g, g FROM generate_series(1, 24) g;
INSERT INTO ro_item SELECT g, p, 'item ' || p FROM generate_series(1, 24) g, generate_series(1, 3) p;

-- One key after the other, so that every partition and both kinds of it are met:
-- every form of key, of select list, of what stands around it.
SELECT id, v, n, twice FROM ro WHERE id = 1;
SELECT id, v, n, twice FROM ro WHERE 2 = id AND n > 1;
SELECT id, v FROM ro WHERE id = 3::smallint;
SELECT id + 1 AS next, upper(v) AS up, n::text || 'x' FROM ro WHERE id = '4';
SELECT r.id FROM ro AS r (id, a, b) WHERE r.id = 5 AND r.b = 5;
SELECT id FROM ro WHERE (id = 6 AND n = 6) AND v IS NOT NULL;
SELECT id FROM ro WHERE id = 7 AND id = 8;
SELECT id FROM ro WHERE id = 7 AND (n = 7 OR n = 8);
SELECT id FROM ro WHERE id = 7 OR id = 8 ORDER BY id;
SELECT id FROM ro WHERE id = NULL;
SELECT count(*), max(n), count(*) FILTER (WHERE n > 8) FROM ro WHERE id = 9;
SELECT count(*), max(n) FROM ro WHERE id = 1000;
SELECT n, count(*) FROM ro WHERE id = 10 GROUP BY n HAVING count(*) > 0 ORDER BY n DESC LIMIT 1;
SELECT DISTINCT v FROM ro WHERE id = 11;
SELECT FROM ro WHERE id = 12;
SELECT at <= now() AS is_past, at::date <= current_date AS is_day FROM ro WHERE id = 13;
SELECT current_user = session_user AS same, length(v) FROM ro WHERE id = 14 AND at <= clock_timestamp();
SELECT CASE WHEN n > 0 THEN 'plus' ELSE current_setting('no.such') END FROM ro WHERE id = 15;
SELECT ro FROM ro_item ro WHERE id = 16 AND pos = 1;
SELECT tableoid IS NOT NULL AS has, ctid IS NOT NULL AS has_too FROM ro WHERE id = 17;
SELECT generate_series(1, n - 15) FROM ro WHERE id = 18;
SELECT id, sum(n) OVER () FROM ro WHERE id = 19;
SELECT id, (SELECT count(*) FROM ro_item i WHERE i.id = r.id) FROM ro r WHERE id = 20;
WITH one AS (SELECT * FROM ro WHERE id = 22) SELECT n FROM one;
SELECT n FROM ro WHERE id = 1 UNION ALL SELECT n FROM ro WHERE id = 2 ORDER BY 1;
SELECT n FROM ro WHERE id = 1 + 22;
SELECT n FROM ro WHERE id = (random() * 0)::int + 24;

-- Joins of colocated tables.
SELECT r.id, pos, what FROM ro r JOIN ro_item i ON i.id = r.id WHERE r.id = 1 ORDER BY pos;
SELECT id, pos FROM ro JOIN ro_item USING (id) WHERE id = 2 ORDER BY pos DESC LIMIT 2;
SELECT r.n, i.pos FROM ro r, ro_item i WHERE r.id = 3 AND i.id = 3 AND i.pos = r.n;
SELECT r.n, i.pos FROM ro r, ro_item i WHERE r.id = 4 AND i.id = 5 ORDER BY pos;
SELECT r.n, count(i.pos) FROM ro r LEFT JOIN ro_item i ON i.id = r.id AND i.pos > 9 WHERE r.id = 6 GROUP BY r.n;
SELECT r.n, i.pos FROM ro r LEFT JOIN ro_item i ON i.id = r.id AND i.id = 5 WHERE r.n < 3 ORDER BY 1;
SELECT r.n, i.pos FROM ro r LEFT JOIN ro_item i USING (id) WHERE i.id = 9 ORDER BY 2;
SELECT r.n, i.pos FROM ro r RIGHT JOIN ro_item i ON r.id = i.id AND r.n = 10 WHERE i.id = 10 ORDER BY 2;
SELECT r.n, i.pos, j.pos FROM ro r LEFT JOIN (ro_item i JOIN ro_item j ON j.id = i.id AND j.pos > 2) ON i.id = r.id AND i.pos < 3
    WHERE r.id = 11 ORDER BY 2;
SELECT r.n, i.pos FROM ro r FULL JOIN ro_item i ON i.id = r.id WHERE r.id = 12 ORDER BY 2;
SELECT a.pos, b.pos FROM ro_item a NATURAL JOIN ro_item b WHERE a.id = 7 ORDER BY 1;
SELECT sum(i.pos * r.n) FROM ro r JOIN ro_item i USING (id) WHERE r.id = 8 GROUP BY r.v;

-- Writing: counts, defaults, generated columns, RETURNING.
INSERT INTO ro (id, v, n) VALUES (101, 'new', 1);
INSERT INTO ro (id) VALUES (102) RETURNING id, v, n, twice, at <= now() AS is_now;
INSERT INTO ro (id, v, n) VALUES (103, DEFAULT, 3) RETURNING v || id AS both, twice;
INSERT INTO ro VALUES (104, 'x', 4, DEFAULT, '2001-01-01 00:00Z') RETURNING twice, at AT TIME ZONE 'UTC';
INSERT INTO ro (id, n) VALUES (105, 5), (106, 6) RETURNING id, twice;
INSERT INTO ro (id, n) SELECT 107, 7 RETURNING id;
UPDATE ro SET n = n + 1 WHERE id = 101;
UPDATE ro SET n = n + 1, v = v || '!' WHERE id = 102 OR id = 103;
UPDATE ro SET n = n + 1, v = v || '!' WHERE id = 103 RETURNING id, v, n, twice;
UPDATE ro SET n = 1, at = now() WHERE id = 104 AND v = 'y';
UPDATE ro SET (n, v) = (9, 'nine') WHERE id = 105 RETURNING twice, at = now();
UPDATE ro SET n = (SELECT max(pos) FROM ro_item) WHERE id = 106 RETURNING n;
UPDATE ro SET id = 107 WHERE id = 107;
UPDATE ro r SET v = i.what FROM ro_item i WHERE i.id = r.id AND r.id = 1 AND i.pos = 2 RETURNING r.id, r.v, i.pos;
DELETE FROM ro_item i USING ro r WHERE r.id = i.id AND i.id = 2 AND i.pos = r.n RETURNING i.*;
DELETE FROM ro WHERE id = 107;
DELETE FROM ro WHERE id = 107;
DELETE FROM ro WHERE id = 106 AND n > 0 RETURNING id, v;
SELECT id, v, n, twice FROM ro WHERE id > 100 ORDER BY id;

-- Errors are the row's own.
\set VERBOSITY sqlstate
INSERT INTO ro (id) VALUES (1);
INSERT INTO ro (id, n) VALUES (109, 5000);
INSERT INTO ro (id, n) VALUES (NULL, 1);
INSERT INTO ro (id, n, twice) VALUES (109, 1, 1);
UPDATE ro SET n = 5000 WHERE id = 2;
UPDATE ro SET n = n / (n - 3) WHERE id = 3;
UPDATE ro SET twice = 1 WHERE id = 4;
SELECT 1 / (n - 5) FROM ro WHERE id = 5;
SELECT n FROM ro WHERE id = 'x';
BEGIN READ ONLY;
SELECT n FROM ro WHERE id = 1;
UPDATE ro SET n = 0 WHERE id = 1;
ROLLBACK;
BEGIN READ ONLY;
SELECT n FROM ro WHERE id = 1 FOR UPDATE;
ROLLBACK;
\set VERBOSITY default

-- Functions: once each, here.
CREATE SEQUENCE ro_seq;
CREATE FUNCTION ro_next() RETURNS int LANGUAGE plpgsql AS
    'BEGIN RETURN (SELECT nextval(''ro_seq'')); END';
CREATE FUNCTION ro_same(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN $1; END';
INSERT INTO ro (id, n, v) VALUES (200 + ro_next(), ro_next(), 'f' || ro_next());
INSERT INTO ro (id, n) VALUES (200 + nextval('ro_seq'), nextval('ro_seq')) RETURNING id, n;
SELECT id, n, v FROM ro WHERE id = 200 + ro_same(1);
SELECT ro_same(n) AS n FROM ro WHERE id = ro_same(3);
UPDATE ro SET n = ro_next() WHERE id = 1000;
UPDATE ro SET n = ro_next() WHERE id = 201 RETURNING n;
SELECT last_value FROM ro_seq;

-- Transactions, savepoints, its own changes.
BEGIN;
UPDATE ro SET n = 500 WHERE id = 1;
SAVEPOINT s;
UPDATE ro SET n = 501 WHERE id = 1;
UPDATE ro SET n = 502 WHERE id = 2;
SELECT n FROM ro WHERE id = 1;
SELECT n FROM ro WHERE id = 2 FOR UPDATE;
ROLLBACK TO s;
SELECT n FROM ro WHERE id = 1 FOR SHARE;
SELECT n FROM ro WHERE id = 2 FOR NO KEY UPDATE SKIP LOCKED;
COMMIT;
SELECT id, n FROM ro WHERE id IN (1, 2) ORDER BY id;

-- Cursors read forwards, backwards, and part of the rows.
BEGIN;
DECLARE c CURSOR FOR SELECT pos FROM ro_item WHERE id = 1 ORDER BY pos;
FETCH 2 FROM c;
FETCH 2 FROM c;
CLOSE c;
DECLARE c SCROLL CURSOR FOR SELECT pos FROM ro_item WHERE id = 2 ORDER BY pos;
FETCH LAST FROM c;
FETCH FIRST FROM c;
COMMIT;
CREATE TEMP TABLE ro_kept AS SELECT * FROM ro_item WHERE id = 3;
SELECT count(*) FROM ro_kept;

-- PL/pgSQL and SQL functions.
CREATE FUNCTION ro_get(bigint) RETURNS int LANGUAGE sql STABLE AS 'SELECT n FROM ro WHERE id = $1';
CREATE FUNCTION ro_put(k bigint, x int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE found_n int; line record; sum_pos int := 0;
BEGIN
    UPDATE ro SET n = x WHERE id = k;
    IF NOT FOUND THEN INSERT INTO ro (id, n) VALUES (k, x); END IF;
    SELECT n INTO STRICT found_n FROM ro WHERE id = k;
    FOR line IN SELECT pos FROM ro_item WHERE id = k LOOP sum_pos := sum_pos + line.pos; END LOOP;
    UPDATE ro SET v = 'put' WHERE id = k;
    IF NOT FOUND THEN RAISE 'nothing updated'; END IF;
    DELETE FROM ro_item WHERE id = k AND pos = 99;
    IF FOUND THEN RAISE 'something deleted'; END IF;
    BEGIN
        INSERT INTO ro (id, n) VALUES (k, 1);
    EXCEPTION WHEN unique_violation THEN sum_pos := sum_pos + 100;
    END;
    RETURN found_n || ' ' || sum_pos;
END $$;
SELECT ro_put(g, 30 + g::int) FROM generate_series(1, 12) g;
SELECT ro_get(g) FROM generate_series(1, 13) g;

-- Plans that are kept, and follow what happens to the table.
PREPARE get (bigint) AS SELECT id, v, n FROM ro WHERE id = $1;
PREPARE put (bigint, int, text) AS UPDATE ro SET n = $2, v = $3 WHERE id = $1 RETURNING n, v;
PREPARE new (bigint, int) AS INSERT INTO ro (id, n) VALUES ($1, $2);
EXECUTE get (1); EXECUTE get (2); EXECUTE get (3); EXECUTE get (4); EXECUTE get (5);
EXECUTE get (6); EXECUTE get (7); EXECUTE get (8); EXECUTE get (9); EXECUTE get (NULL);
EXECUTE get (1); EXECUTE get (2); EXECUTE get (3);
SET plan_cache_mode = force_generic_plan;
EXECUTE put (1, 1, 'a'); EXECUTE put (2, 2, NULL); EXECUTE put (3, NULL, 'c'); EXECUTE put (1, 2, 'b');
EXECUTE new (301, 1); EXECUTE new (302, 2); EXECUTE new (303, 3); EXECUTE new (304, 4);
RESET plan_cache_mode;
CREATE INDEX ro_n ON ro (n);
EXECUTE get (1); EXECUTE get (5); EXECUTE put (5, 55, 'e');
DROP INDEX ro_n;
EXECUTE get (1); EXECUTE get (5); EXECUTE put (5, 56, 'f');
ANALYZE ro;
EXECUTE get (1); EXECUTE get (5); EXECUTE put (5, 57, 'g');
DROP TABLE ro CASCADE;
\set VERBOSITY sqlstate
EXECUTE get (1);
\set VERBOSITY default
CREATE TABLE ro (id bigint PRIMARY KEY, v text, n int) :by_id;
EXECUTE new (1, 10); EXECUTE new (2, 20);
EXECUTE get (1); EXECUTE get (2);
EXECUTE put (2, 21, 'two');
DEALLOCATE ALL;

-- Keys of several columns and of other types.
CREATE TABLE ro_two (a int, b text, v int, PRIMARY KEY (a, b)) :by_both;
INSERT INTO ro_two VALUES (1, 'x', 1);
INSERT INTO ro_two VALUES (1, 'y', 2);
INSERT INTO ro_two (b, a) VALUES ('z', 2) RETURNING *;
SELECT v FROM ro_two WHERE a = 1 AND b = 'x';
SELECT v FROM ro_two WHERE b = 'y' AND a = 1;
SELECT count(*) FROM ro_two WHERE a = 1;
UPDATE ro_two SET v = 3 WHERE (a, b) = (2, 'z') RETURNING v;
CREATE TABLE ro_kind (k varchar(9) PRIMARY KEY, mood text) :by_k;
INSERT INTO ro_kind VALUES ('a', '1');
INSERT INTO ro_kind VALUES ('b', '2');
INSERT INTO ro_kind VALUES ('c ', '3');
SELECT * FROM ro_kind WHERE k = 'a';
SELECT * FROM ro_kind WHERE k = 'b'::text;
SELECT * FROM ro_kind WHERE k = 'c';
SELECT mood FROM ro_kind WHERE k = 'a' COLLATE "C";
SELECT mood FROM ro_kind WHERE upper(k) = 'A';
DROP TABLE ro_kind;
CREATE TABLE ro_kind (k numeric PRIMARY KEY, mood text) :by_k;
INSERT INTO ro_kind VALUES (1.50, 'a'), (2, 'b'), ('NaN', 'c');
SELECT * FROM ro_kind WHERE k = 1.5;
SELECT * FROM ro_kind WHERE k = 2;
SELECT * FROM ro_kind WHERE k = 'NaN';
DROP TABLE ro_kind;
CREATE TABLE ro_kind (k uuid PRIMARY KEY, mood text) :by_k;
INSERT INTO ro_kind VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a') RETURNING mood;
UPDATE ro_kind SET mood = 'b' WHERE k = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11' RETURNING *;
DROP TABLE ro_kind;
CREATE TABLE ro_kind (k timestamptz PRIMARY KEY, mood text) :by_k;
INSERT INTO ro_kind VALUES ('2001-02-03 04:05:06Z', 'a');
SELECT mood FROM ro_kind WHERE k = '2001-02-03 05:05:06+01';
SELECT mood FROM ro_kind WHERE k = '2001-02-03'::date;
DROP TABLE ro_kind, ro_two, ro_item;
DROP FUNCTION ro_get, ro_put, ro_next, ro_same;
DROP SEQUENCE ro_seq;

-- Rights are those on the table, for its columns too; views and policies hold.
CREATE ROLE ro_user;
\if :sharded
\c - - - :n2
CREATE ROLE ro_user;
\c - - - :n3
CREATE ROLE ro_user;
\c - - - :n1
\endif
INSERT INTO ro SELECT g, 'v', g FROM generate_series(11, 16) g;
CREATE VIEW ro_view AS SELECT id, v FROM ro WHERE n > 12;
CREATE VIEW ro_barrier WITH (security_barrier) AS SELECT id, v FROM ro WHERE n > 12;
GRANT SELECT (id, v), UPDATE (v), INSERT (id, v) ON ro TO ro_user;
GRANT SELECT ON ro_view, ro_barrier TO ro_user;
SET ROLE ro_user;
\set VERBOSITY sqlstate
SELECT id, v FROM ro WHERE id = 11;
SELECT id, v FROM ro WHERE id = 12;
SELECT n FROM ro WHERE id = 13;
SELECT id FROM ro WHERE id = 14 AND n = 14;
UPDATE ro SET v = 'w' WHERE id = 11;
UPDATE ro SET v = 'w' WHERE id = 12;
UPDATE ro SET v = 'w' WHERE id = 13 RETURNING n;
UPDATE ro SET n = 0 WHERE id = 14;
INSERT INTO ro (id, v) VALUES (21, 'a');
INSERT INTO ro (id, v) VALUES (22, 'a');
INSERT INTO ro (id, n) VALUES (23, 1);
DELETE FROM ro WHERE id = 15;
SELECT v FROM ro WHERE id = 16 FOR UPDATE;
SELECT * FROM ro_view WHERE id = 12;
SELECT * FROM ro_view WHERE id = 13;
SELECT * FROM ro_barrier WHERE id = 14;
\set VERBOSITY default
RESET ROLE;
SELECT id, v, n FROM ro WHERE id > 10 ORDER BY id;
DROP VIEW ro_view, ro_barrier;
-- Policies, also those that come and go under a kept plan; triggers; a dropped column.
GRANT ALL ON ro TO ro_user;
SET plan_cache_mode = force_generic_plan;
PREPARE see (bigint) AS SELECT id, n FROM ro WHERE id = $1;
PREPARE change (bigint) AS UPDATE ro SET v = 'p' WHERE id = $1 RETURNING id;
SET ROLE ro_user;
EXECUTE see (11); EXECUTE see (12); EXECUTE change (11); EXECUTE change (12);
RESET ROLE;
ALTER TABLE ro ENABLE ROW LEVEL SECURITY;
CREATE POLICY odd ON ro USING (n % 2 = 1);
SET ROLE ro_user;
EXECUTE see (11); EXECUTE see (12); EXECUTE change (11); EXECUTE change (12);
SELECT id FROM ro WHERE id = 13;
SELECT id FROM ro WHERE id = 14;
RESET ROLE;
EXECUTE see (11); EXECUTE see (12);
ALTER TABLE ro DISABLE ROW LEVEL SECURITY;
SET ROLE ro_user;
EXECUTE see (11); EXECUTE see (12); EXECUTE change (12);
RESET ROLE;
SET shardman.broadcast_ddl = on;
CREATE FUNCTION ro_mark() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.v := new.v || ''!''; RETURN new; END';
RESET shardman.broadcast_ddl;
CREATE TRIGGER mark BEFORE INSERT OR UPDATE ON ro FOR EACH ROW EXECUTE FUNCTION ro_mark();
EXECUTE change (11); EXECUTE change (12); EXECUTE change (13); EXECUTE change (14);
INSERT INTO ro (id, v) VALUES (31, 'a') RETURNING v;
INSERT INTO ro (id, v) VALUES (32, 'a') RETURNING v;
INSERT INTO ro (id, v) VALUES (33, 'a') RETURNING v;
DROP TRIGGER mark ON ro;
EXECUTE change (13); EXECUTE change (14);
ALTER TABLE ro ADD COLUMN w int DEFAULT 5;
SELECT * FROM ro WHERE id = 15;
SELECT * FROM ro WHERE id = 16;
INSERT INTO ro (id) VALUES (34) RETURNING *;
INSERT INTO ro (id) VALUES (35) RETURNING *;
DROP POLICY odd ON ro;
PREPARE wide (bigint) AS SELECT w FROM ro WHERE id = $1;
EXECUTE wide (15); EXECUTE wide (16);
ALTER TABLE ro ALTER COLUMN w TYPE text;
SELECT w || '!' AS w FROM ro WHERE id = 15;
SELECT w || '!' AS w FROM ro WHERE id = 16;
\set VERBOSITY sqlstate
EXECUTE wide (15); EXECUTE wide (16);
\set VERBOSITY default
ALTER TABLE ro ALTER COLUMN w TYPE int USING w::int;
EXECUTE wide (15); EXECUTE wide (16);
ALTER TABLE ro DROP COLUMN n;
SELECT * FROM ro WHERE id = 15;
SELECT * FROM ro WHERE id = 16;
UPDATE ro SET w = 6 WHERE id = 15 RETURNING *;
UPDATE ro SET w = 6 WHERE id = 16 RETURNING *;
ALTER TABLE ro RENAME COLUMN w TO x;
EXECUTE change (15); EXECUTE change (16);
SELECT x FROM ro WHERE id = 15;
SELECT x FROM ro WHERE id = 16;
DEALLOCATE ALL;
RESET plan_cache_mode;
SELECT * FROM ro WHERE id > 10 ORDER BY id;
DROP TABLE ro;
SET shardman.broadcast_ddl = on;
DROP FUNCTION ro_mark();
RESET shardman.broadcast_ddl;
\if :sharded
\c - - - :n2
DROP ROLE ro_user;
\c - - - :n3
DROP ROLE ro_user;
\c - - - :n1
\endif
DROP ROLE ro_user;
