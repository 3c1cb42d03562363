-- UPDATE of the key: rows move between partitions, from and to every node.
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 12)'
\else
\set by_id ''
\endif
CREATE TABLE moving (
    id int PRIMARY KEY, v int CONSTRAINT moving_small CHECK (v < 1000), t text DEFAULT 'fresh',
    g int GENERATED ALWAYS AS (id * 10) STORED
) :by_id;
CREATE UNIQUE INDEX moving_u ON moving (id, v);
INSERT INTO moving (id, v) SELECT g, g % 10 FROM generate_series(1, 200) g;

-- all of them, each from where it is to where it belongs; a command tag of 200
DO $$
DECLARE n bigint;
BEGIN
    UPDATE moving SET id = id + 1000, v = v + 1;
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n <> 200 THEN RAISE 'UPDATE of 200 rows said %', n; END IF;
END $$;
SELECT count(*), min(id), max(id), sum(id), sum(v), sum(g), count(DISTINCT id) FROM moving;
WITH u AS (UPDATE moving SET id = id - 1000 WHERE id <= 1010 RETURNING id, v, t, g) SELECT * FROM u ORDER BY id;
SELECT count(*), sum(id), sum(g) FROM moving;
-- one row, by a constant key, as a statement of its own
UPDATE moving SET id = 2001 WHERE id = 1;
UPDATE moving SET id = 2002 WHERE id = 2 RETURNING id, g;
UPDATE moving SET id = 2003 WHERE id = 99999;
UPDATE moving SET id = 2004, v = DEFAULT, t = DEFAULT WHERE id = 4 RETURNING *;
SELECT * FROM moving WHERE id < 11 OR id > 2000 ORDER BY id;
\connect - - - :n2
-- prepared, with joins, sub-selects, CTEs
PREPARE move(int, int) AS UPDATE moving SET id = $2 WHERE id = $1 RETURNING id, v;
EXECUTE move(2001, 1);
EXECUTE move(2002, 2);
EXECUTE move(77777, 3);
WITH u AS (UPDATE moving m SET id = m.id + n.d FROM (VALUES (1011, 5000), (1012, 6000), (1013, 7000)) n(id, d)
    WHERE m.id = n.id RETURNING m.id, n.d) SELECT * FROM u ORDER BY id;
UPDATE moving SET id = id + (SELECT 10000) WHERE id IN (SELECT id FROM moving WHERE id BETWEEN 1020 AND 1029);
WITH moved AS (UPDATE moving SET id = id + 20000 WHERE id BETWEEN 1030 AND 1039 RETURNING id, v)
SELECT count(*), sum(id), sum(v) FROM moved;
SELECT count(*), count(DISTINCT id), sum(id), sum(g), sum(v) FROM moving;
\connect - - - :n3
-- what PostgreSQL refuses is refused, and nothing is left of it
\set VERBOSITY sqlstate
UPDATE moving SET id = 2 WHERE id = 1;
UPDATE moving SET id = id + 300000, v = 5000 WHERE id BETWEEN 1040 AND 1060;
UPDATE moving SET id = NULL WHERE id = 1;
SELECT count(*), sum(id) FROM moving;
DO $$
DECLARE name text;
BEGIN
    FOR i IN 1100..1110 LOOP
        BEGIN
            UPDATE moving SET id = 500000 + i, v = 5000 WHERE id = i;
            RAISE 'not refused';
        EXCEPTION WHEN check_violation THEN
            GET STACKED DIAGNOSTICS name = CONSTRAINT_NAME;
            IF name <> 'moving_small' THEN RAISE 'wrong constraint %', name; END IF;
        END;
    END LOOP;
END $$;
BEGIN;
UPDATE moving SET id = id + 100000 WHERE id BETWEEN 1040 AND 1060;
SAVEPOINT s;
UPDATE moving SET id = id + 100000;
ROLLBACK TO s;
SELECT count(*), sum(id) FROM moving WHERE id > 100000;
ROLLBACK;
SELECT count(*), sum(id) FROM moving WHERE id > 100000;
-- through a view that checks what goes in
CREATE VIEW moving_low AS SELECT * FROM moving WHERE id < 100 WITH CHECK OPTION;
UPDATE moving_low SET id = 50 WHERE id = 5;
UPDATE moving_low SET id = 5000 WHERE id = 6;
SELECT id FROM moving_low ORDER BY id;
DROP VIEW moving_low;
DROP TABLE moving;

-- a key of two columns, of which one changes
\if :sharded
\set by_two 'WITH (distributed_by = ''a, b'', num_parts = 6)'
\else
\set by_two ''
\endif
CREATE TABLE moving_two (a int, b text, v int, PRIMARY KEY (a, b)) :by_two;
INSERT INTO moving_two SELECT g, 'b' || g, g FROM generate_series(1, 60) g;
UPDATE moving_two SET b = 'c' || v WHERE a % 2 = 0;
UPDATE moving_two SET a = -a WHERE a % 3 = 0;
SELECT count(*), sum(a), sum(v), count(*) FILTER (WHERE b LIKE 'c%') FROM moving_two;
SELECT * FROM moving_two WHERE a = -6 AND b = 'c6';
DROP TABLE moving_two;
