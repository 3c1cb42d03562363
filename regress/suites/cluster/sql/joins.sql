-- Which joins run on the nodes.
\getenv n1 N1
\getenv n2 N2
CREATE TABLE jp_c (id int PRIMARY KEY, name text) WITH (distributed_by = 'id', num_parts = 3);
CREATE TABLE jp_o (oid int, cust int, total numeric) WITH (distributed_by = 'cust', colocate_with = 'jp_c');
INSERT INTO jp_c SELECT i, 'c' || i FROM generate_series(1, 300) i;
INSERT INTO jp_o SELECT i, i % 300 + 1, i FROM generate_series(1, 600) i;
ANALYZE jp_c;
ANALYZE jp_o;
CREATE FUNCTION sent(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text; found text[] = '{}';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
        line = regexp_replace(trim(line), 'shard_\d+_(\w+?)_\d+', '\1', 'g');
        line = regexp_replace(line, '''\d+''::oid', 'OID', 'g');
        IF line ~ '^Remote SQL' AND NOT line = ANY (found) THEN
            found = found || line;
            RETURN NEXT line;
        END IF;
    END LOOP;
END $$;
SELECT sent('SELECT c.name, o.total FROM jp_c c JOIN jp_o o ON o.cust = c.id WHERE o.total < 30');
SELECT sent('SELECT c.name, avg(o.total) FROM jp_c c JOIN jp_o o ON o.cust = c.id GROUP BY c.name');
SELECT sent('SELECT count(*) FROM jp_o a JOIN jp_o b ON a.cust = b.cust AND a.total < b.total JOIN jp_c c ON c.id = a.cust');
SELECT sent('SELECT c.name, o.total FROM jp_c c LEFT JOIN jp_o o ON o.cust = c.id AND o.total > 3 WHERE c.id < 7');
SELECT sent('SELECT c.name, o.total FROM (SELECT * FROM jp_c WHERE name > ''c1'') c FULL JOIN (SELECT * FROM jp_o WHERE total < 7) o ON o.cust = c.id');
SELECT sent('SELECT c.name FROM jp_c c WHERE EXISTS (SELECT FROM jp_o o WHERE o.cust = c.id AND o.total < 7)');
SELECT sent('SELECT c.name FROM jp_c c WHERE NOT EXISTS (SELECT FROM jp_o o WHERE o.cust = c.id)');
SELECT sent('SELECT c.id, count(o.oid) FROM jp_c c LEFT JOIN jp_o o ON o.cust = c.id GROUP BY c.id');
SELECT sent('SELECT c.tableoid, o.total FROM jp_c c JOIN jp_o o ON o.cust = c.id');
-- refused, or not offered by core: rows as a whole, which locks want, too
SELECT sent('SELECT c.name, o.total FROM jp_c c JOIN jp_o o ON o.cust = c.id AND o.total < random()');
SELECT sent('SELECT c.name, o.total FROM jp_c c JOIN jp_o o ON o.cust = c.id FOR UPDATE');
SELECT sent('SELECT c, o.total FROM jp_c c JOIN jp_o o ON o.cust = c.id');
SELECT sent('SELECT c.name, o.total FROM jp_c c LEFT JOIN jp_o o ON o.cust = c.id AND o.total < random()');
DROP FUNCTION sent(text);
DROP TABLE jp_o;
DROP TABLE jp_c;
