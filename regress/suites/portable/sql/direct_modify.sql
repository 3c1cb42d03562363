-- UPDATE and DELETE that may run whole on the owner of the rows, and those that
-- may not: the rows, counts and RETURNING are those of one server.
\getenv n1 N1
\getenv n2 N2
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\else
\set by_id ''
\endif
CREATE TABLE dm (
    id int PRIMARY KEY,
    v int,
    t text,
    mood varchar(5) DEFAULT 'ok',
    at timestamptz,
    a int[]
) :by_id;
INSERT INTO dm SELECT g, g % 7, 'row ' || g, 'ok', '2000-01-01 00:00Z', ARRAY[g, g + 1]
    FROM generate_series(1, 60) g;

-- Counts, over all partitions and by key.
UPDATE dm SET v = v + 1 WHERE id = 7;
UPDATE dm SET v = v + 1;
UPDATE dm SET v = v * 2, t = t || '!' WHERE v > 5;
UPDATE dm SET v = 0 WHERE id = 1000;
SELECT count(*), sum(v), count(*) FILTER (WHERE t LIKE '%!') FROM dm;

DO $$
DECLARE n bigint;
BEGIN
    UPDATE dm SET v = v WHERE id IN (1, 2, 3, 1000);
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n <> 3 THEN RAISE 'UPDATE of 3 rows said %', n; END IF;
    UPDATE dm SET v = v;
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n <> 60 THEN RAISE 'UPDATE of 60 rows said %', n; END IF;
    DELETE FROM dm WHERE id > 1000;
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n <> 0 THEN RAISE 'DELETE of nothing said %', n; END IF;
END $$;

-- Length coercion, stable values, NULL, DEFAULT, arrays.
UPDATE dm SET mood = 'happy', at = now(), t = NULL WHERE id BETWEEN 1 AND 3;
UPDATE dm SET mood = DEFAULT, a[2] = -1 WHERE id = 4;
UPDATE dm SET a = a || id WHERE id = 5;
SELECT id, mood, at = '2000-01-01 00:00Z' AS is_old, t, a FROM dm WHERE id <= 6 ORDER BY id;

-- RETURNING: columns, expressions, the whole row, a constant, more than a chunk.
WITH u AS (UPDATE dm SET v = -id WHERE id <= 4 RETURNING id, v, id + v AS zero, (dm).t, (dm).a)
SELECT * FROM u ORDER BY id;
WITH u AS (UPDATE dm SET v = 1 RETURNING 1 AS one) SELECT sum(one) FROM u;
WITH d AS (DELETE FROM dm WHERE id > 50 RETURNING dm.*) SELECT count(*), min(id), max(t) FROM d;
WITH u AS (UPDATE dm SET v = 2 WHERE id <= 10) SELECT count(*) FROM dm WHERE v = 1;
SELECT count(*) FROM dm WHERE v = 2;
INSERT INTO dm SELECT g, 0, repeat('x', 100) FROM generate_series(1001, 4000) g;
WITH u AS (UPDATE dm SET v = v + id WHERE id > 1000 RETURNING v, t)
SELECT count(*), sum(v), sum(length(t)) FROM u;
WITH d AS (DELETE FROM dm WHERE id > 1000 RETURNING id) SELECT count(*), sum(id) FROM d;

-- Conditions and values that stay here: volatile, a user's function, joins, sub-selects.
CREATE FUNCTION dm_double(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN $1 * 2; END';
CREATE FUNCTION dm_stop() RETURNS int LANGUAGE plpgsql STABLE AS
    'BEGIN RAISE ''stopped''; END';
UPDATE dm SET v = dm_double(id) WHERE dm_double(id) < 10;
UPDATE dm SET v = dm_stop() WHERE id = 1000;
UPDATE dm SET mood = 'too long' WHERE id = 1;
UPDATE dm SET v = CASE WHEN random() < 2 THEN 9 END WHERE id = 11;
CREATE TABLE dm_local (id int, w int);
INSERT INTO dm_local VALUES (1, 100), (2, 200), (3, 300);
UPDATE dm SET v = w FROM dm_local l WHERE l.id = dm.id;
UPDATE dm SET v = (SELECT max(w) FROM dm_local) WHERE id = 12;
UPDATE dm SET (v, t) = (SELECT w, 'of ' || l.id FROM dm_local l WHERE l.id = dm.id) WHERE id <= 4;
UPDATE dm SET (v, t) = (SELECT 5, 'five') WHERE id = 13;
DELETE FROM dm WHERE id IN (SELECT id FROM dm_local WHERE w > 250);
SELECT id, v, t FROM dm WHERE id <= 13 ORDER BY id;

-- A false condition that no row decides.
PREPARE dm_gate(int) AS UPDATE dm SET v = 0 WHERE $1 > 5;
EXECUTE dm_gate(1);
EXECUTE dm_gate(6);
SELECT count(*) FROM dm WHERE v = 0;

-- Prepared: custom plans, then a generic one.
PREPARE dm_set(int, int, text, text) AS
    UPDATE dm SET v = $2, t = $3, mood = $4 WHERE id = $1 RETURNING id, v, t, mood;
EXECUTE dm_set(1, 1, 'a', 'sad');
EXECUTE dm_set(2, 2, NULL, NULL);
SET plan_cache_mode = force_generic_plan;
EXECUTE dm_set(4, 4, 'd', 'happy');
EXECUTE dm_set(1000, 4, 'd', 'happy');
EXECUTE dm_set(5, NULL, '', 'ok');
RESET plan_cache_mode;

-- Errors come with the constraint's name; savepoints undo.
CREATE TABLE dm_checked (id int PRIMARY KEY, v int NOT NULL CONSTRAINT dm_small CHECK (v < 10)) :by_id;
INSERT INTO dm_checked SELECT g, g FROM generate_series(1, 8) g;
DO $$
DECLARE name text; col text;
BEGIN
    FOR i IN 1..8 LOOP
        BEGIN
            UPDATE dm_checked SET v = v + 10 WHERE id = i;
        EXCEPTION WHEN check_violation THEN
            GET STACKED DIAGNOSTICS name = CONSTRAINT_NAME;
            IF name <> 'dm_small' THEN RAISE 'wrong constraint %', name; END IF;
        END;
        BEGIN
            UPDATE dm_checked SET v = NULL WHERE id = i;
        EXCEPTION WHEN not_null_violation THEN
            GET STACKED DIAGNOSTICS col = COLUMN_NAME;
            IF col <> 'v' THEN RAISE 'wrong column %', col; END IF;
        END;
        UPDATE dm_checked SET v = 0 WHERE id = i;
        IF NOT FOUND THEN RAISE 'not found: %', i; END IF;
        DELETE FROM dm_checked WHERE id = i + 100;
        IF FOUND THEN RAISE 'found: %', i + 100; END IF;
    END LOOP;
END $$;
SELECT sum(v), count(*) FROM dm_checked;
BEGIN;
UPDATE dm_checked SET v = 1;
SAVEPOINT s;
DELETE FROM dm_checked;
SELECT count(*) FROM dm_checked;
ROLLBACK TO s;
SELECT sum(v), count(*) FROM dm_checked;
ROLLBACK;
SELECT sum(v) FROM dm_checked;

-- An updatable view, with and without CHECK OPTION.
CREATE VIEW dm_few AS SELECT id, v FROM dm_checked WHERE v < 5;
UPDATE dm_few SET v = 4 WHERE id = 1;
UPDATE dm_few SET v = 6 WHERE id = 2 RETURNING id, v;
SELECT count(*) FROM dm_few;
CREATE VIEW dm_guarded AS SELECT id, v FROM dm_checked WHERE v < 5 WITH CHECK OPTION;
DO $$
BEGIN
    UPDATE dm_guarded SET v = 7 WHERE id = 3;
    RAISE 'not refused';
EXCEPTION WHEN with_check_option_violation THEN
    NULL;
END $$;
UPDATE dm_guarded SET v = 3 WHERE id = 3;
SELECT id, v FROM dm_checked WHERE v > 0 ORDER BY id;

DROP VIEW dm_few, dm_guarded;
DROP TABLE dm, dm_local, dm_checked;
DROP FUNCTION dm_double(int), dm_stop();
