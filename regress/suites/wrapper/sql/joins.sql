-- Joins and groups of tables on one server: what is sent, and that the rows are
-- those of the same tables here.
\getenv n2 N2
\getenv n1 N1
\connect - - - :n2
CREATE TABLE jw_a_there (x int, v text, "The Id" int, k int);
ALTER TABLE jw_a_there DROP COLUMN x;
CREATE TABLE jw_b (id int, a int, w text);
INSERT INTO jw_a_there SELECT 'v' || i, i, nullif(i % 4, 0) FROM generate_series(1, 60) i;
INSERT INTO jw_b SELECT i, nullif(i * 2 % 26, 0), nullif('w' || i, 'w7') FROM generate_series(1, 60) i;
CREATE VIEW jw_view AS SELECT "The Id" AS id, k FROM jw_a_there;
CREATE FUNCTION jw_f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 LIMIT 1';
\connect - - - :n1
CREATE SCHEMA jw_here;
CREATE SCHEMA jw_far;
CREATE FOREIGN TABLE jw_far.a (id int OPTIONS (column_name 'The Id'), k int, v text) SERVER s2 OPTIONS (schema_name 'public', table_name 'jw_a_there');
CREATE FOREIGN TABLE jw_far.b (id int, a int, w text) SERVER s2 OPTIONS (schema_name 'public', table_name 'jw_b');
CREATE FOREIGN TABLE jw_far.seen (id int, k int) SERVER s2 OPTIONS (schema_name 'public', table_name 'jw_view');
CREATE FOREIGN TABLE jw_far.other (id int, a int) SERVER s3 OPTIONS (schema_name 'public', table_name 'jw_o');
CREATE FUNCTION jw_f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 LIMIT 1';
CREATE TABLE jw_here.a AS SELECT * FROM jw_far.a;
CREATE TABLE jw_here.b AS SELECT * FROM jw_far.b;
CREATE TABLE jw_here.seen AS SELECT * FROM jw_far.seen;
ANALYZE jw_far.a; ANALYZE jw_far.b; ANALYZE jw_here.a; ANALYZE jw_here.b;
-- Shows what is sent; an exception if the rows differ from those of the tables here.
CREATE FUNCTION sent(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text; here text[]; far text[];
BEGIN
    PERFORM set_config('search_path', 'jw_here, public', true);
    EXECUTE 'SELECT array_agg(t::text ORDER BY t::text) FROM (' || query || ') AS t' INTO here;
    PERFORM set_config('search_path', 'jw_far, public', true);
    EXECUTE 'SELECT array_agg(t::text ORDER BY t::text) FROM (' || query || ' OFFSET 0) AS t' INTO far;
    IF here IS DISTINCT FROM far THEN
        RAISE 'differs: % %', here, far;
    END IF;
    FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
        IF line ~ 'Remote SQL' THEN
            RETURN NEXT regexp_replace(trim(line), '''\d+''::oid', 'OID', 'g');
        END IF;
    END LOOP;
END $$;
SELECT sent('SELECT x.id, y.w FROM a x JOIN b y ON x.id = y.a WHERE x.k > 2');
SELECT sent('SELECT x.id, y.w FROM a x LEFT JOIN b y ON x.id = y.a AND y.id > 5 WHERE x.k > 2');
SELECT sent('SELECT x.id, y.w FROM a x LEFT JOIN b y ON x.id = y.a WHERE y.w IS NULL OR y.id = 3');
SELECT sent('SELECT x.id FROM a x LEFT JOIN b y ON x.id = y.a WHERE y.a IS NULL');
SELECT sent('SELECT x.id, y.w FROM a x RIGHT JOIN b y ON x.id = y.a AND x.k = 3 WHERE y.id < 50');
SELECT sent('SELECT x.id, y.w FROM a x FULL JOIN b y ON x.id = y.a WHERE x.k = 1 OR y.id < 9');
SELECT sent('SELECT x.id, y.w FROM (SELECT * FROM a WHERE k = 3) x FULL JOIN (SELECT * FROM b WHERE id < 30) y ON x.id = y.a');
SELECT sent('SELECT x.id, y.w, z.v FROM a x LEFT JOIN (b y JOIN a z ON y.id = z.id AND z.k < 4) ON x.id = y.a');
SELECT sent('SELECT x.id, s.w FROM a x FULL JOIN (SELECT y.w, y.id FROM b y LEFT JOIN a u ON y.a = u.id WHERE u.k IS NULL OR u.k = 2) s ON s.id = x.id');
-- a condition that stays here, and one that must not move past an outer join
SELECT sent('SELECT x.id, y.w FROM a x LEFT JOIN b y ON x.id = y.a WHERE jw_f(x.k + coalesce(y.id, 1)) > 3');
SELECT sent('SELECT x.id, y.w FROM a x LEFT JOIN b y ON x.id = y.a AND jw_f(x.k + y.id) > 3');
-- whole rows, system columns
SELECT sent('SELECT x, y FROM a x FULL JOIN b y ON x.id = y.a');
SELECT sent('SELECT x.tableoid = ''jw_far.a''::regclass OR x.tableoid = ''jw_here.a''::regclass AS t, x.xmin IS NULL AS n, y.id FROM a x FULL JOIN b y ON x.id = y.a');
SELECT sent('SELECT x.id, y.ctid IS NULL AS n FROM a x LEFT JOIN b y ON x.id = y.a AND y.ctid IS NOT NULL');
SELECT sent('SELECT x.id, y.w, x.tableoid IS NULL AS t FROM b y LEFT JOIN seen x ON x.id = y.a');
-- semi and anti joins
SELECT sent('SELECT x.id FROM a x WHERE EXISTS (SELECT FROM b y WHERE y.a = x.id AND y.id > 3)');
SELECT sent('SELECT x.id FROM a x WHERE NOT EXISTS (SELECT FROM b y WHERE y.a = x.id AND y.id > x.k)');
SELECT sent('SELECT x.id, s.id FROM a x LEFT JOIN (SELECT * FROM b z WHERE EXISTS (SELECT FROM b y WHERE y.a = z.id)) s ON s.id = x.id');
SELECT sent('SELECT x.id, s.id FROM a x FULL JOIN (SELECT * FROM b z WHERE NOT EXISTS (SELECT FROM b y WHERE y.a = z.id)) s ON s.id = x.id');
-- groups
SELECT sent('SELECT count(*), sum(x.id) FROM a x WHERE x.v > ''v3''');
SELECT sent('SELECT x.k, count(*), count(DISTINCT y.a % 3), string_agg(y.w, '','' ORDER BY y.id DESC), sum(y.id) FILTER (WHERE y.id > 4) FROM a x JOIN b y ON x.id = y.a GROUP BY x.k HAVING sum(x.id) > 10');
SELECT sent('SELECT x.k % 3 + 1 AS g, avg(x.id), max(v) FROM a x GROUP BY x.k % 3 + 1');
SELECT sent('SELECT k, array_agg(id ORDER BY id) FROM a WHERE id < 30 GROUP BY k HAVING count(*) > 2 AND jw_f(k) > 0');
SELECT sent('SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id) FROM a');
SELECT sent('SELECT k, count(*) FROM a GROUP BY ROLLUP (k)');
SELECT sent('SELECT DISTINCT k FROM a WHERE id > 3');
SELECT sent('SELECT DISTINCT x.k, y.id % 2 AS o FROM a x JOIN b y ON x.id = y.a');
SELECT sent('SELECT count(DISTINCT jw_f(k)) FROM a');
-- what EXPLAIN tells of it
CREATE FUNCTION told(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, VERBOSE, COSTS OFF) ' || query LOOP
        IF line ~ '^ *(Node|Not Shipped|Remote R|Remote Time)' THEN
            RETURN NEXT regexp_replace(trim(line), '(Time|Requests): [0-9.]*[1-9][0-9.]*', '\1: some');
        END IF;
    END LOOP;
END $$;
SET search_path = jw_far, public;
SELECT told('SELECT count(*) FROM a');
SELECT told('SELECT x.id FROM a x LEFT JOIN b y ON x.id = y.a AND jw_f(y.id) > 3 WHERE x.v < random()::text');
SELECT told('SELECT k, count(*) FROM a GROUP BY ROLLUP (k)');
SELECT told('SELECT jw_f(id) FROM a WHERE v = ''v1'' COLLATE "C" AND id < 5');
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT count(*) FROM a WHERE jw_f(k) = 1;
RESET search_path;
DROP FUNCTION told(text);
-- a text that returns other types after DDL is prepared anew
\getenv psql PSQL
\setenv N2 :n2
CREATE FOREIGN TABLE jw_far.typed (t int) SERVER s2 OPTIONS (schema_name 'public', table_name 'jw_typed');
\! $PSQL -p $N2 -c 'CREATE TABLE jw_typed AS SELECT 7 AS t'
SELECT t FROM jw_far.typed;
\! $PSQL -p $N2 -c 'ALTER TABLE jw_typed ALTER t TYPE text'
ALTER FOREIGN TABLE jw_far.typed ALTER t TYPE text;
SELECT t FROM jw_far.typed;
\! $PSQL -p $N2 -c 'DROP TABLE jw_typed'
-- two servers, two users
EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*) FROM jw_far.a x JOIN jw_far.other y USING (id);
CREATE VIEW jw_far.mine AS SELECT * FROM jw_far.a;
CREATE ROLE jw_owner SUPERUSER;
ALTER VIEW jw_far.mine OWNER TO jw_owner;
CREATE USER MAPPING FOR jw_owner SERVER s2 OPTIONS (user 'postgres');
EXPLAIN (COSTS OFF) SELECT x.id FROM jw_far.mine x JOIN jw_far.b y ON x.id = y.a;
-- changed and locked rows
EXPLAIN (VERBOSE, COSTS OFF) UPDATE jw_far.a x SET v = x.v || y.w FROM jw_far.b y WHERE x.id = y.a AND y.id < 4;
UPDATE jw_far.a x SET v = x.v || y.w FROM jw_far.b y WHERE x.id = y.a AND y.id < 4 RETURNING x.*, y.w;
DELETE FROM jw_far.a x USING jw_far.b y WHERE x.id = y.a AND y.id = 3 RETURNING x, y;
SELECT x.id, y.w FROM jw_far.a x LEFT JOIN jw_far.b y ON x.id = y.a WHERE x.id < 8 ORDER BY 1, 2 FOR UPDATE OF x;
EXPLAIN (VERBOSE, COSTS OFF) UPDATE jw_here.b l SET w = x.v FROM jw_far.a x JOIN jw_far.b y ON x.id = y.a WHERE l.id = x.id AND l.w <> 'gone';
BEGIN;
UPDATE jw_here.b l SET w = x.v FROM jw_far.a x JOIN jw_far.b y ON x.id = y.a WHERE l.id = x.id AND l.w <> 'gone' RETURNING l.id, l.w;
ROLLBACK;
DROP FUNCTION sent(text);
DROP SCHEMA jw_here CASCADE;
DROP SCHEMA jw_far CASCADE;
DROP FUNCTION jw_f(int);
DROP USER MAPPING FOR jw_owner SERVER s2;
DROP ROLE jw_owner;
\connect - - - :n2
DROP VIEW jw_view;
DROP TABLE jw_a_there, jw_b;
DROP FUNCTION jw_f(int);
