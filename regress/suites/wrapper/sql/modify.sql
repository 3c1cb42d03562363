-- INSERT in batches, COPY, UPDATE, DELETE, RETURNING, partitions, TRUNCATE.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\connect - - - :n2
CREATE TABLE m (id int PRIMARY KEY, v text DEFAULT 'remote default', g int GENERATED ALWAYS AS (id * 2) STORED, n int CHECK (n <> 13));
CREATE TABLE m3 (id int PRIMARY KEY CHECK (id % 3 = 2), v text);
\connect - - - :n3
CREATE TABLE m2 (id int PRIMARY KEY CHECK (id % 3 = 1), v text);
\connect - - - :n1
CREATE FOREIGN TABLE m (id int, v text DEFAULT 'local default', g int GENERATED ALWAYS AS (id * 2) STORED, n int) SERVER s2;
EXPLAIN (VERBOSE, COSTS off) INSERT INTO m (id) VALUES (1) RETURNING g;
EXPLAIN (VERBOSE, COSTS off) INSERT INTO m (id) SELECT generate_series(1, 10) ON CONFLICT DO NOTHING;
EXPLAIN (VERBOSE, COSTS off) UPDATE m SET v = 'x', id = id + 1 WHERE id = 1 RETURNING v, g;
EXPLAIN (VERBOSE, COSTS off) DELETE FROM m WHERE id < 5 AND v = upper(v);
INSERT INTO m (id) VALUES (1), (2) RETURNING *;
INSERT INTO m (id, v, n) SELECT i, 'v' || i, i FROM generate_series(100, 5099) i;
SELECT count(*), sum(id), sum(g), min(v), max(v) FROM m;
INSERT INTO m (id) VALUES (1);
INSERT INTO m (id) SELECT generate_series(200000, 202500);
INSERT INTO m (id) VALUES (1), (300000) ON CONFLICT DO NOTHING;
INSERT INTO m (id) VALUES (1) ON CONFLICT (id) DO NOTHING;
INSERT INTO m (id) VALUES (1) ON CONFLICT DO NOTHING RETURNING id;
INSERT INTO m (id, n) VALUES (300001, 13);
\set VERBOSITY verbose
INSERT INTO m (id) VALUES (300002), (2);
\set VERBOSITY default
UPDATE m SET v = v || '!' WHERE id BETWEEN 100 AND 102 RETURNING id, v, g, ctid IS NOT NULL;
UPDATE m SET id = -id WHERE id < 3 RETURNING *;
UPDATE m SET v = 'j' FROM generate_series(100, 105) s WHERE m.id = s RETURNING s, m.v;
DELETE FROM m WHERE id IN (100, 101) RETURNING id, v;
WITH d AS (DELETE FROM m WHERE id = 102 RETURNING *) SELECT id, v FROM d;
UPDATE m SET n = 13 WHERE id = 103;
SELECT count(*) FROM m;
-- COPY
COPY m (id, v, n) FROM PROGRAM 'seq 400000 412344 | sed ''s/.*/&\tc&\t&/''';
SELECT count(*), sum(id::bigint), sum(g::bigint) FROM m WHERE id >= 400000;
COPY m (id, v, n) FROM PROGRAM 'seq 400000 412344 | sed ''s/.*/&\tc&\t&/''';
COPY m (id, v) FROM stdin;
500000	a
500001	b
\.
SELECT id, v, g FROM m WHERE id >= 500000 ORDER BY id;
BEGIN; COPY m (id, v) FROM stdin;
500002	a
\.
SELECT count(*) FROM m WHERE id >= 500000; ROLLBACK;
COPY m (id, n) FROM stdin;
600000	1
600001	13
600002	2
\.
SELECT count(*) FROM m WHERE id >= 600000;
CREATE FUNCTION tr() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE 'after % %', NEW.id, NEW.v; RETURN NEW; END$$;
CREATE TRIGGER t AFTER INSERT ON m FOR EACH ROW EXECUTE FUNCTION tr();
COPY m (id, v) FROM stdin;
700000	a
700001	b
\.
INSERT INTO m (id) VALUES (700002), (700003);
DROP TRIGGER t ON m;
CREATE FUNCTION trb() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.v = 'before'; RETURN NEW; END$$;
CREATE TRIGGER t BEFORE UPDATE ON m FOR EACH ROW EXECUTE FUNCTION trb();
UPDATE m SET n = 5 WHERE id = 700000 RETURNING id, v, n;
DROP TRIGGER t ON m;
-- a view with CHECK OPTION
CREATE VIEW mv AS SELECT id, v FROM m WHERE id > 1000000 WITH CHECK OPTION;
INSERT INTO mv VALUES (5, 'x');
INSERT INTO mv VALUES (1000001, 'x') RETURNING *;
-- partitions: one here, two elsewhere
CREATE TABLE p (id int, v text) PARTITION BY LIST ((id % 3));
CREATE TABLE m1 PARTITION OF p FOR VALUES IN (0);
CREATE FOREIGN TABLE m2 PARTITION OF p FOR VALUES IN (1) SERVER s3;
CREATE FOREIGN TABLE m3 PARTITION OF p FOR VALUES IN (2) SERVER s2;
INSERT INTO p SELECT i, 'p' || i FROM generate_series(1, 3000) i;
SELECT tableoid::regclass, count(*), min(id), max(id) FROM p GROUP BY tableoid ORDER BY tableoid::regclass::text;
INSERT INTO p VALUES (3001, 'a'), (3002, 'b'), (3003, 'c') RETURNING tableoid::regclass, *;
COPY p FROM stdin;
4001	x
4002	y
4003	z
4004	w
\.
SELECT tableoid::regclass, * FROM p WHERE id > 3000 ORDER BY id;
UPDATE p SET v = v || '*' WHERE id > 4000 RETURNING tableoid::regclass, *;
-- a row moves from here to there
UPDATE p SET id = 4100 WHERE id = 4002 AND id % 3 = 0 RETURNING tableoid::regclass, *;
INSERT INTO p VALUES (4005, 'q'), (4008, 'r');
UPDATE p SET id = 4102 WHERE id = 4005;
WITH moved AS (DELETE FROM p WHERE id = 4102 RETURNING *) INSERT INTO p SELECT 4105, v FROM moved RETURNING tableoid::regclass, *;
UPDATE p SET id = id + 1000 WHERE id % 3 = 0 AND id > 4000 RETURNING tableoid::regclass, *;
SELECT tableoid::regclass, * FROM p WHERE id > 4004 ORDER BY id;
-- from there to here and elsewhere
UPDATE p SET id = 6000 WHERE id = 4001;
UPDATE p SET id = 6002 WHERE id = 4008 OR id = 4105;
SELECT tableoid::regclass, * FROM p WHERE id > 4000 ORDER BY id;
DELETE FROM p WHERE id > 3000;
SELECT tableoid::regclass, count(*) FROM p GROUP BY tableoid ORDER BY tableoid::regclass::text;
EXPLAIN (COSTS off) SELECT * FROM p WHERE id % 3 = 2 AND id = 5;
TRUNCATE p; SELECT count(*) FROM p;
BEGIN; INSERT INTO m3 VALUES (2, 'x'); TRUNCATE m3, m; ROLLBACK;
SELECT count(*) > 0 FROM m;
-- locks there: READ COMMITTED checks again
INSERT INTO m3 VALUES (2, 'a');
SELECT * FROM m3 FOR UPDATE;
CREATE FOREIGN TABLE wrong (id int, nosuch int) SERVER s2 OPTIONS (table_name 'm');
INSERT INTO wrong VALUES (1, 1);
SELECT * FROM wrong;
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
