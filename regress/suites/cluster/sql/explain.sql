-- EXPLAIN names the node and shows what is sent there.
\getenv n1 N1
\getenv n2 N2
CREATE TABLE ex (id int PRIMARY KEY, v text, w int) WITH (distributed_by = 'id', num_parts = 3);
-- The table id in leaf names moves with other tests; nothing else may.
CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
        RETURN NEXT regexp_replace(line, 'shard_\d+_', 'shard_N_', 'g');
    END LOOP;
END $$;
SELECT plan('SELECT id, v FROM ex WHERE w > 5 AND v LIKE ''a%'' AND id + w < 9');
SELECT plan('SELECT count(*) FROM ex WHERE random() < 0.5');
SELECT plan('INSERT INTO ex VALUES (1, ''a'', 1), (2, ''b'', 2)');
SELECT plan('UPDATE ex SET v = v || ''x'' WHERE w = 3');
SELECT plan('DELETE FROM ex RETURNING *');
-- Point statements by the router, and by the partition planner.
SELECT plan('SELECT w, v FROM ex WHERE id = 3');
SELECT plan('SELECT w, v FROM ex WHERE id = 2');
SELECT plan('INSERT INTO ex VALUES (3, now()::text, 1) ON CONFLICT (id) DO UPDATE SET v = excluded.v');
SET shardman.enable_router = off;
SELECT plan('SELECT w, v FROM ex WHERE id = 3');
RESET shardman.enable_router;
-- Sent whole: values that the owner may compute, and those that are the same for all rows.
SELECT plan('UPDATE ex SET v = now()::text WHERE id = 3 RETURNING w');
SELECT plan('DELETE FROM ex WHERE id = 3 RETURNING 1');
SET shardman.enable_router = off;
SELECT plan('UPDATE ex SET v = now()::text WHERE id = 3 RETURNING w');
SELECT plan('DELETE FROM ex WHERE id = 3 RETURNING 1');
RESET shardman.enable_router;
-- Row by row: a volatile value, a condition that stays here, the distribution column.
SELECT plan('UPDATE ex SET w = random() WHERE id = 3');
SELECT plan('DELETE FROM ex WHERE id = 3 AND random() < 0.5');
SELECT plan('UPDATE ex SET id = 7 WHERE id = 3');
DROP FUNCTION plan(text);
DROP TABLE ex;
