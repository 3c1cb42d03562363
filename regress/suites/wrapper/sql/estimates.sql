-- The option use_remote_estimate: the planner expects what the other side's does.
\getenv n2 N2
\getenv n1 N1
\connect - - - :n2
CREATE TABLE est_t AS SELECT i AS id, i % 10 AS v FROM generate_series(1, 100000) AS i;
ANALYZE est_t;
\connect - - - :n1
CREATE FOREIGN TABLE est_t (id int, v int) SERVER s2;
CREATE FUNCTION est_rows(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
    RETURN plan->0->'Plan'->>'Plan Rows';
END $$;
SELECT est_rows('SELECT * FROM est_t WHERE v = 3') BETWEEN 8000 AND 12000 AS is_close;
ALTER FOREIGN TABLE est_t OPTIONS (ADD use_remote_estimate 'on');
SELECT est_rows('SELECT * FROM est_t WHERE v = 3') BETWEEN 8000 AND 12000 AS is_close;
SELECT est_rows('SELECT * FROM est_t') = 100000 AS is_exact;
-- a condition that stays here counts here
SELECT est_rows('SELECT * FROM est_t WHERE random() < 2 AND v = 3') BETWEEN 2600 AND 4000 AS is_a_third;
-- values that are not known yet
SET plan_cache_mode = force_generic_plan;
PREPARE by_value(int) AS SELECT count(*) FROM est_t WHERE v = $1;
EXECUTE by_value(3);
RESET plan_cache_mode;
-- what cannot be asked is an error, as it is for the scan
ALTER FOREIGN TABLE est_t OPTIONS (ADD table_name 'gone');
EXPLAIN SELECT * FROM est_t;
-- clean up
DROP FOREIGN TABLE est_t;
DROP FUNCTION est_rows;
\connect - - - :n2
DROP TABLE est_t;
