-- What of grouping runs on the nodes: one plan line each of a foreign leaf.
\getenv n1 N1
\getenv n2 N2
CREATE TABLE agp (id int PRIMARY KEY, k int, v text, n numeric) WITH (distributed_by = 'id', num_parts = 3);
CREATE FUNCTION sent(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text; found text[] = '{}';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
        line = regexp_replace(trim(line), 'shard_\d+_(\w+)_\d+', 'shard_\1', 'g');
        IF line ~ '^(Remote SQL|Filter|(-> *)?Finalize)' AND NOT line = ANY (found) THEN
            found = found || line;
            RETURN NEXT line;
        END IF;
    END LOOP;
END $$;
SELECT sent('SELECT count(*), count(n), sum(k), min(v) FROM agp WHERE k > 5');
SELECT sent('SELECT avg(n), sum(n), stddev(k), count(*) FILTER (WHERE k > 3) FROM agp');
SELECT sent('SELECT k % 3, avg(k) FROM agp GROUP BY k % 3 HAVING count(*) > 7');
SELECT sent('SELECT id, count(DISTINCT v), string_agg(v, '','' ORDER BY n DESC) FROM agp GROUP BY id HAVING sum(n) > 7');
SELECT sent('SELECT id, sum(n) FROM agp GROUP BY id HAVING sum(n) > random()');
-- refused: not the same there, or not all of it known there
SELECT sent('SELECT count(*) FROM agp WHERE random() < 0.5');
SELECT sent('SELECT count(*) FILTER (WHERE random() < 0.5) FROM agp');
SELECT sent('SELECT id, v, count(*) FROM agp GROUP BY id');
SELECT sent('SELECT max(v COLLATE "C") FROM agp');
SELECT sent('SELECT count(DISTINCT k) FROM agp');
-- the settings are as they were, after an error too
SHOW enable_partitionwise_aggregate;
SELECT count(*) FROM agp WHERE k = 1 / 0;
SHOW enable_partitionwise_join;
-- states are for nodes only
SELECT shardman.partial_state(avg(n)) FROM agp;
DROP FUNCTION sent(text);
DROP TABLE agp;
