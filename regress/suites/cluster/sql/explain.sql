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
DROP FUNCTION plan(text);
DROP TABLE ex;
