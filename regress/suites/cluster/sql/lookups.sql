-- A join of a few rows with a large table asks for what it needs, whether or not
-- somebody has analysed the large one.
\getenv n1 N1
CREATE TABLE large (id int PRIMARY KEY, v int, s text) WITH (distributed_by = 'id', num_parts = 3);
CREATE INDEX ON large (v);
INSERT INTO large SELECT i, i % 10000, 'text ' || i FROM generate_series(1, 60000) i;
CREATE TABLE few (k int, t text);
INSERT INTO few SELECT i * 100, 't' || i FROM generate_series(1, 10) i;
ANALYZE few;
CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
        IF line !~ 'Output:|Node:' THEN
            RETURN NEXT regexp_replace(line, 'shard_\d+_(\w+?)_\d+(_\w+)?( \w+_\d)?', '\1', 'g');
        END IF;
    END LOOP;
END $$;
SELECT plan('SELECT * FROM few JOIN large ON large.id = few.k');
SELECT plan('SELECT * FROM few LEFT JOIN large ON large.v = few.k AND large.s > few.t');
-- a statement that writes reads what was there when it began, at once
SELECT plan('UPDATE few SET t = s FROM large WHERE large.id = few.k');
ANALYZE large;
SELECT plan('SELECT * FROM few JOIN large ON large.id = few.k');
SELECT plan('SELECT * FROM few LEFT JOIN large ON large.v = few.k AND large.s > few.t');
DROP FUNCTION plan(text);
DROP TABLE few, large;
