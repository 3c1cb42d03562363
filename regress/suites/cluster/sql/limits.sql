-- LIMIT below an Append: only where nothing between chooses other rows.
\getenv n1 N1
\getenv n2 N2
CREATE TABLE lp (id int PRIMARY KEY, v int) WITH (distributed_by = 'id', num_parts = 3);
INSERT INTO lp SELECT i, i % 10 FROM generate_series(1, 300) i;
CREATE FUNCTION sent(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text; found text[] = '{}';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
        line = regexp_replace(trim(line), 'shard_\d+_(\w+?)_\d+', '\1', 'g');
        IF line ~ '^Remote SQL' AND NOT line = ANY (found) THEN
            found = found || line;
            RETURN NEXT line;
        END IF;
    END LOOP;
END $$;
CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query; END $$;
SELECT sent('SELECT id FROM lp WHERE v = 3 LIMIT 5 OFFSET 2');
SELECT sent('SELECT id FROM lp LIMIT 0');
SELECT sent('SELECT * FROM (SELECT id FROM lp LIMIT 7) s WHERE id > 5');
-- with an order: the first of each leaf
SELECT sent('SELECT id FROM lp ORDER BY v LIMIT 5');
SELECT sent('SELECT id FROM lp WHERE v > 3 ORDER BY v DESC, id NULLS FIRST LIMIT 5 OFFSET 2');
SELECT sent('SELECT id FROM lp ORDER BY v + id, abs(id) DESC NULLS LAST LIMIT 5');
SELECT sent('SELECT a.id FROM lp a JOIN lp b USING (id) ORDER BY a.v + b.v LIMIT 5');
SELECT sent('SELECT id, count(*), max(v) AS v FROM lp GROUP BY id HAVING max(v) > 3 ORDER BY count(*) DESC, id LIMIT 5');
SELECT sent('SELECT id, count(*) FROM lp GROUP BY id LIMIT 5');
-- as a parameter, where the plan is for any values
SET plan_cache_mode = force_generic_plan;
PREPARE page (bigint, bigint) AS SELECT id FROM lp ORDER BY v LIMIT $1 OFFSET $2;
PREPARE few (int) AS SELECT id FROM lp WHERE v = 3 LIMIT $1;
PREPARE groups (bigint) AS SELECT id, count(*) FROM lp GROUP BY id ORDER BY count(*) LIMIT $1;
PREPARE pairs (bigint) AS SELECT a.id FROM lp a JOIN lp b USING (id) ORDER BY a.v LIMIT $1;
PREPARE other (bigint) AS SELECT id FROM lp LIMIT (SELECT $1);
PREPARE writes (bigint) AS INSERT INTO lp SELECT id + 1000, v FROM lp ORDER BY id LIMIT $1;
SELECT sent('EXECUTE page (1, 2)');
SELECT sent('EXECUTE few (1)');
SELECT sent('EXECUTE groups (1)');
SELECT sent('EXECUTE pairs (1)');
SELECT sent('EXECUTE other (1)');
SELECT sent('EXECUTE writes (1)');
RESET plan_cache_mode;
-- with the order only
SELECT sent('SELECT id FROM lp ORDER BY v');
SELECT sent('SELECT id FROM lp ORDER BY v FETCH FIRST 5 ROWS WITH TIES');
SELECT sent('SELECT id FROM lp WHERE v > random() ORDER BY v LIMIT 5');
SELECT sent('SELECT a.id FROM lp a JOIN lp b USING (id) ORDER BY a.v');
-- with neither
SELECT sent('SELECT id FROM lp WHERE v > random() ORDER BY v + 1 LIMIT 5');
SELECT sent('SELECT id FROM lp ORDER BY v + random() LIMIT 5');
SELECT sent('SELECT id FROM lp ORDER BY (v::text || ''x'') COLLATE "C" LIMIT 5');
SELECT sent('SELECT v, count(*) FROM lp GROUP BY v ORDER BY count(*) LIMIT 5');
SELECT sent('SELECT a.id FROM lp a JOIN lp b ON a.id = b.v ORDER BY a.v LIMIT 5');
SELECT sent('SELECT id, count(*) FROM lp GROUP BY id HAVING count(*) > random() ORDER BY id LIMIT 5');
-- not here
SELECT sent('SELECT id FROM lp WHERE v > random() LIMIT 5');
SELECT sent('SELECT DISTINCT v FROM lp LIMIT 5');
SELECT sent('SELECT generate_series(1, v) FROM lp LIMIT 5');
SELECT sent('SELECT id FROM lp LIMIT 5 FOR UPDATE SKIP LOCKED');
SELECT sent('SELECT id FROM lp OFFSET 5');
SELECT sent('SELECT id, row_number() OVER () FROM lp LIMIT 5');
-- the numbers of rows are right
SELECT count(*), bool_and(v = 3) FROM (SELECT v FROM lp WHERE v = 3 LIMIT 25) s;
SELECT count(*) FROM (SELECT v FROM lp WHERE v = 3 LIMIT 25 OFFSET 20) s;
SELECT count(*) FROM (SELECT v FROM lp LIMIT 1000) s;
SELECT count(DISTINCT id) FROM (SELECT id FROM lp LIMIT 290) s;
PREPARE l(int) AS SELECT count(*) FROM (SELECT v FROM lp LIMIT $1) s;
SET plan_cache_mode = force_generic_plan;
EXECUTE l(3);
EXECUTE l(200);
RESET plan_cache_mode;
EXECUTE l(250);
-- the first rows of all leaves, merged
SELECT id, v FROM lp WHERE v > 3 ORDER BY v DESC, id NULLS FIRST LIMIT 3 OFFSET 2;
SELECT regexp_replace(line, 'shard_\d+_lp_\d+( lp_\d)?', 'leaf') FROM plan('SELECT id FROM lp ORDER BY v LIMIT 5') line;
DROP FUNCTION sent(text);
DROP FUNCTION plan(text);
DROP TABLE lp;
