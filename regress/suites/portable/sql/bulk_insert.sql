-- INSERT of many rows in one statement: batches for several partitions are
-- under way at the same time. Counts, errors and what is left after them are
-- those of one server.
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 12)'
\else
\set by_id ''
\endif
CREATE TABLE bulk (id int PRIMARY KEY, v int CONSTRAINT bulk_small CHECK (v < 100000), t text) :by_id;
DO $$
DECLARE n bigint; name text;
BEGIN
    INSERT INTO bulk SELECT g, g, 'row ' || g FROM generate_series(1, 10000) g;
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n <> 10000 THEN RAISE 'INSERT of 10000 rows said %', n; END IF;
    INSERT INTO bulk SELECT g, g, 'row ' || g FROM generate_series(9001, 11000) g
        ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n <> 1000 THEN RAISE 'INSERT of 1000 rows said %', n; END IF;
    -- The first error is the one reported, wherever else batches were sent.
    FOR i IN 1..30 LOOP
        BEGIN
            INSERT INTO bulk
                SELECT g, CASE WHEN g = 20000 + i THEN 100000 ELSE g END FROM generate_series(20001, 25000) g;
            RAISE 'not refused';
        EXCEPTION WHEN check_violation THEN
            GET STACKED DIAGNOSTICS name = CONSTRAINT_NAME;
            IF name <> 'bulk_small' THEN RAISE 'wrong constraint %', name; END IF;
        END;
        IF EXISTS (SELECT FROM bulk WHERE id > 20000) THEN RAISE 'rows are left'; END IF;
    END LOOP;
    -- What it has written it can read.
    FOR i IN 1..5 LOOP
        INSERT INTO bulk SELECT id + 100000 * i, 0, t FROM bulk WHERE id <= 2000;
        SELECT count(*) INTO n FROM bulk WHERE id > 100000 * i;
        IF n <> 2000 THEN RAISE 'wrote 2000 rows, read %', n; END IF;
    END LOOP;
END $$;
SELECT count(*), sum(id), sum(v), min(t), max(t) FROM bulk;
BEGIN;
INSERT INTO bulk SELECT g, g, 'row ' || g FROM generate_series(30001, 33000) g;
SAVEPOINT s;
INSERT INTO bulk SELECT g, g, 'row ' || g FROM generate_series(33001, 36000) g;
ROLLBACK TO s;
SELECT count(*) FROM bulk WHERE id BETWEEN 30000 AND 40000;
ROLLBACK;
SELECT count(*) FROM bulk WHERE id BETWEEN 30000 AND 40000;
WITH i AS (INSERT INTO bulk SELECT g, g, 'cte' FROM generate_series(40001, 43000) g RETURNING id)
SELECT count(*), sum(id) FROM i;
WITH i AS (INSERT INTO bulk SELECT g, g, 'cte' FROM generate_series(50001, 53000) g) SELECT 1 AS one;
SELECT t, count(*) FROM bulk WHERE t = 'cte' GROUP BY t;
DROP TABLE bulk;
