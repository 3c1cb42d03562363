-- Keys of every type that hashes by value, with the values that are equal
-- without looking it: found, changed and removed by each of them through every
-- node, and nowhere but where they belong.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
SET shardman.broadcast_ddl = on;
\set everywhere 'WITH (replicated)'
\set by_k 'WITH (distributed_by = ''k'', num_parts = 3)'
\set by_three 'WITH (distributed_by = ''a, b, c'', num_parts = 5)'
\else
\set everywhere ''
\set by_k ''
\set by_three ''
\endif
CREATE COLLATION kt_any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE DOMAIN kt_positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN kt_word AS text COLLATE kt_any_case CHECK (VALUE <> '');
CREATE TYPE kt_pair AS (a int, b text);
CREATE TABLE kt_spec (n int PRIMARY KEY, type text NOT NULL, vals text[] NOT NULL) :everywhere;
INSERT INTO kt_spec VALUES
  (1, 'int2', '{0,1,-1,32767,-32768,NULL}'),
  (2, 'int4', '{0,1,-1,2147483647,-2147483648,NULL}'),
  (3, 'int8', '{0,1,-1,9223372036854775807,-9223372036854775808,4294967296,NULL}'),
  (4, 'oid', '{0,1,4294967295}'),
  (5, 'bool', '{t,f,NULL}'),
  (6, '"char"', '{a,b,""}'),
  (7, 'float4', '{0,-0,1.5,NaN,Infinity,-Infinity,0.1,NULL}'),
  (8, 'float8', '{0,-0,1.5,NaN,-NaN,Infinity,-Infinity,0.1,NULL}'),
  (9, 'numeric', '{0,0.000,-0,1.0,1.00,1,100,1e2,NaN,Infinity,-Infinity,NULL}'),
  (10, 'numeric(8, 2)', '{1.004,1.00,1.005}'),
  (11, 'text', '{"",a,A,"a ",é,é,NULL,"NULL"}'),
  (12, 'varchar(5)', '{"",a,"a ","a  ",NULL}'),
  (13, 'char(4)', '{"",a,"a ","a   "," a",NULL}'),
  (14, 'name', '{"",a,"a ",a_long_one}'),
  (15, 'text COLLATE "C"', '{a,A,é,NULL}'),
  (16, 'text COLLATE kt_any_case', '{a,A,é,É,straße,STRASSE,NULL}'),
  (17, 'bytea', '{"","\\x00","\\x0000",NULL}'),
  (18, 'date', '{2024-02-29,infinity,-infinity,0044-03-15 BC,NULL}'),
  (19, 'time', '{00:00,24:00,12:34:56.123456}'),
  (20, 'timetz', '{12:00+00,13:00+01,11:00-01,12:00+01}'),
  (21, 'timestamp', '{2024-03-31 02:30,infinity,-infinity,0044-03-15 12:00 BC,NULL}'),
  (22, 'timestamptz', '{2024-03-31 02:30+00,2024-03-31 04:30+02,2024-03-30 19:30-07,infinity,-infinity,NULL}'),
  (23, 'interval', '{0,1 mon,30 days,720:00,1 day,24:00,-1 day,NULL}'),
  (24, 'uuid', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,A0EEBC999C0B4EF8BB6D6BB9BD380A11,00000000-0000-0000-0000-000000000000}'),
  (25, 'jsonb', '{"{}","[]","null","1","1.0","1.00","\"1\"","{\"a\": 1, \"b\": [2]}","{\"b\":[2.0],\"a\":1.0}",NULL}'),
  (26, 'inet', '{10.0.0.1,10.0.0.1/32,10.0.0.1/8,::1}'),
  (27, 'cidr', '{10.0.0.0/8,10,::/0}'),
  (28, 'macaddr', '{08:00:2b:01:02:03,08002b010203}'),
  (29, 'macaddr8', '{08:00:2b:01:02:03:04:05,08002b0102030405}'),
  (30, 'pg_lsn', '{0/0,16/B374D848,16/b374d848}'),
  (31, 'xid8', '{0,1,18446744073709551615}'),
  (32, 'int4[]', '{"{}","{1}","{NULL}","{1,NULL}","{{1},{2}}","[5:6]={1,2}","{1,2}",NULL}'),
  (33, 'text[]', '{"{}","{\"\"}","{a,\"a \"}","{NULL,\"NULL\"}"}'),
  (34, 'numeric[]', '{"{1.0}","{1.00}","{NaN}"}'),
  (35, 'float8[]', '{"{0}","{-0}","{NaN}"}'),
  (36, 'text[] COLLATE kt_any_case', '{"{a}","{A}","{b}"}'),
  (37, 'jsonb[]', '{"{1}","{1.0}"}'),
  (38, 'int4range', '{"empty","[1,5]","[1,6)","(0,6)","(,)","[,6)",NULL}'),
  (39, 'numrange', '{"[1.0,2.00]","[1,2]","(1,2]"}'),
  (40, 'tstzrange', '{"[2024-01-01 00:00+00,)","[2024-01-01 02:00+02,)","empty"}'),
  (41, 'int4range[]', '{"{\"[1,5]\"}","{\"[1,6)\"}"}'),
  (42, 'int4multirange', '{"{}","{[1,3),[3,5)}","{[1,5)}"}'),
  (43, 'kt_positive', '{1,2,2147483647,NULL}'),
  (44, 'kt_word', '{word,WORD,other,NULL}'),
  (45, 'kt_positive[]', '{"{1,2}","{NULL}"}'),
  (46, 'kt_pair', '{"(1,a)","(1,)","(,)",NULL}');

CREATE FUNCTION kt_create(options text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE spec kt_spec;
BEGIN
    FOR spec IN SELECT * FROM kt_spec ORDER BY n LOOP
        EXECUTE format('CREATE TABLE kt_%s (k %s, v int, node int) %s', spec.n, spec.type, options);
    END LOOP;
END $$;
-- the type without its collation
CREATE FUNCTION kt_cast(spec kt_spec) RETURNS text LANGUAGE sql STABLE
RETURN split_part(spec.type, ' COLLATE', 1);
-- rows that a third of the values make, through this node
CREATE FUNCTION kt_insert(third int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE spec kt_spec;
BEGIN
    FOR spec IN SELECT * FROM kt_spec ORDER BY n LOOP
        FOR i IN 1..cardinality(spec.vals) LOOP
            IF i % 3 = third AND i % 2 = 0 THEN
                EXECUTE format('INSERT INTO kt_%s VALUES ($1::%s, $2, $3)', spec.n, kt_cast(spec))
                    USING spec.vals[i], i, third;
            ELSIF i % 3 = third THEN
                EXECUTE format('INSERT INTO kt_%s VALUES (%L::%s, %s, %s)', spec.n, spec.vals[i], kt_cast(spec), i, third);
            END IF;
        END LOOP;
    END LOOP;
END $$;
-- for each value the rows that are found by it, in four ways that must agree
CREATE FUNCTION kt_find(types text) RETURNS TABLE (type text, hits text) LANGUAGE plpgsql AS $$
DECLARE
    spec kt_spec;
    by_literal text;
    by_parameter text;
    by_plan text;
    by_scan text;
BEGIN
    FOR spec IN SELECT * FROM kt_spec WHERE kt_spec.type ~ types ORDER BY n LOOP
        type := spec.type;
        hits := '';
        EXECUTE format('PREPARE kt_plan (%s) AS SELECT string_agg(v::text, '' '' ORDER BY v) FROM kt_%s WHERE k = $1',
                       kt_cast(spec), spec.n);
        FOR i IN 1..cardinality(spec.vals) LOOP
            EXECUTE format('SELECT string_agg(v::text, '' '' ORDER BY v) FROM kt_%s WHERE k = %L::%s', spec.n, spec.vals[i],
                           kt_cast(spec)) INTO by_literal;
            EXECUTE format('SELECT string_agg(v::text, '' '' ORDER BY v) FROM kt_%s WHERE k = $1::%s', spec.n, kt_cast(spec))
                INTO by_parameter USING spec.vals[i];
            EXECUTE format('EXECUTE kt_plan (%L)', spec.vals[i]) INTO by_plan;
            EXECUTE format('SELECT string_agg(v::text, '' '' ORDER BY v) FROM (SELECT k, v FROM kt_%s OFFSET 0) AS t WHERE k = %L::%s',
                           spec.n, spec.vals[i], kt_cast(spec)) INTO by_scan;
            IF (by_literal, by_literal, by_literal) IS DISTINCT FROM (by_parameter, by_plan, by_scan) THEN
                hits := hits || format(' [%s: literal %s, parameter %s, plan %s, scan %s]', spec.vals[i], by_literal,
                                         by_parameter, by_plan, by_scan);
            ELSE
                hits := hits || coalesce('(' || by_literal || ')', '-');
            END IF;
        END LOOP;
        DEALLOCATE kt_plan;
        RETURN NEXT;
    END LOOP;
END $$;
-- changes rows by their keys and says how many
CREATE FUNCTION kt_change(command text) RETURNS TABLE (type text, counts text) LANGUAGE plpgsql AS $$
DECLARE
    spec kt_spec;
    changed int;
BEGIN
    FOR spec IN SELECT * FROM kt_spec ORDER BY n LOOP
        type := spec.type;
        counts := '';
        FOR i IN 1..cardinality(spec.vals) LOOP
            IF i % 2 = 0 THEN
                EXECUTE format(command, spec.n, '$1::' || kt_cast(spec)) USING spec.vals[i];
            ELSE
                EXECUTE format(command, spec.n, format('%L::%s', spec.vals[i], kt_cast(spec)));
            END IF;
            GET DIAGNOSTICS changed = ROW_COUNT;
            counts := counts || ' ' || changed;
        END LOOP;
        RETURN NEXT;
    END LOOP;
END $$;
-- rows that are not where their keys belong
CREATE FUNCTION kt_misplaced() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    spec kt_spec;
    misplaced int;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = 'kt_1'::regclass) THEN
        RETURN;
    END IF;
    FOR spec IN SELECT * FROM kt_spec ORDER BY n LOOP
        EXECUTE format('SELECT count(*) FROM kt_%1$s AS t WHERE NOT satisfies_hash_partition(''kt_%1$s''::regclass, 3,
                            substring(tableoid::regclass::text FROM ''_(\d+)$'')::int, t.k)', spec.n) INTO misplaced;
        IF misplaced <> 0 THEN
            RETURN NEXT spec.type;
        END IF;
    END LOOP;
END $$;
-- the rows where a condition holds
CREATE FUNCTION kt_where(n int, condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hits text;
BEGIN
    EXECUTE format('SELECT string_agg(v::text, '' '' ORDER BY v) FROM kt_%s WHERE %s', n, condition) INTO hits;
    RETURN hits;
END $$;
SELECT kt_create(:'by_k');
SELECT kt_insert(0);
\connect - - - :n2
SELECT kt_insert(1);
\connect - - - :n3
SELECT kt_insert(2);
SELECT * FROM kt_find('');
\connect - - - :n2
SET TimeZone = 'America/New_York';
SELECT * FROM kt_find('time|date|range');
SELECT * FROM kt_change('UPDATE kt_%s SET v = v + 100 WHERE k = %s');
\connect - - - :n1
SELECT * FROM kt_find('');
SELECT kt_misplaced();

-- equal to a value of another type
SELECT n, condition, kt_where(n, condition) FROM (VALUES
  (1, 'k = 1::int8'), (1, 'k = 32768'), (2, 'k = 1::int2'), (2, 'k = 4294967297'), (2, 'k = 1.0'), (2, 'k = 1.5'),
  (3, 'k = 1::int2'), (3, 'k = 1::numeric'), (4, 'k = 1'), (5, 'k'), (5, 'NOT k'), (5, 'k IS TRUE'),
  (7, 'k = 0.1'), (7, 'k = 0.1::float4'), (8, 'k = 0.1::float4'), (8, 'k = 0'), (9, 'k = 1'), (9, 'k = 1::float8'),
  (11, 'k = ''a''::varchar'), (11, 'k = ''a ''::char(3)'), (11, 'k = ''a''::name'), (12, 'k = ''a ''::char(3)'),
  (12, 'k = ''a ''::text'), (13, 'k = ''a''::text'), (13, 'k = ''a  ''::text'), (13, 'k = ''a ''::varchar'),
  (14, 'k = ''a''::text'), (14, 'k = ''a''::varchar'), (16, 'k = ''A'''), (16, 'k = ''A'' COLLATE "C"'),
  (11, 'k = ''a'' COLLATE kt_any_case'), (18, 'k = ''2024-02-29 00:00''::timestamp'), (21, 'k = ''infinity''::date'),
  (22, 'k = ''2024-03-31 02:30''::timestamp AT TIME ZONE ''UTC'''), (26, 'k = ''10.0.0.0/8''::cidr'),
  (32, 'k = ARRAY[1, 2]'), (38, 'k = int4range(1, 6)'), (43, 'k = 1'), (46, 'k = ROW(1, ''a'')::kt_pair'),
  (2, 'k IN (1, 0, NULL)'), (2, 'k = ANY (''{1,-1}'')'), (9, 'k IN (1, 100, ''NaN'')'), (11, 'k IS NULL'),
  (2, 'k IS NOT DISTINCT FROM 1')) AS c (n, condition);

-- another key
\connect - - - :n3
SELECT * FROM kt_change('UPDATE kt_%1$s SET k = (SELECT k FROM kt_%1$s WHERE v IN (1, 101) LIMIT 1), node = 9 WHERE k = %2$s');
\connect - - - :n1
SELECT kt_misplaced();
SELECT * FROM kt_change('DELETE FROM kt_%s WHERE k = %s');
SELECT format('DROP TABLE %s', string_agg('kt_' || n, ', ')) FROM kt_spec \gexec

-- keys of several columns
CREATE TABLE kt_three (a numeric, b char(3), c timestamptz, v int, UNIQUE (c, a, b)) :by_three;
INSERT INTO kt_three VALUES (1.0, 'x', '2024-01-01 00:00+00', 1), (1.5, 'x', 'infinity', 2), ('NaN', '', '-infinity', 3),
                            (NULL, 'x', '2024-01-01 00:00+00', 4), (1.0, NULL, NULL, 5), (NULL, NULL, NULL, 6);
\connect - - - :n2
\set VERBOSITY sqlstate
INSERT INTO kt_three VALUES (1.00, 'x  ', '2024-01-01 02:00+02', 7);
\set VERBOSITY default
INSERT INTO kt_three VALUES (1.00, 'x  ', '2024-01-01 02:00+02', 7) ON CONFLICT (a, b, c) DO UPDATE SET v = kt_three.v + excluded.v
  RETURNING a, v;
SELECT v FROM kt_three WHERE a = 1 AND b = 'x' AND c = '2023-12-31 19:00-05';
SELECT v FROM kt_three WHERE a = 'NaN' AND b = '   ' AND c = '-infinity';
SELECT v FROM kt_three WHERE a IS NULL AND b = 'x' AND c = '2024-01-01 00:00+00';
SELECT v FROM kt_three WHERE a IS NULL AND b IS NULL AND c IS NULL;
SELECT v FROM kt_three WHERE a = 1 AND b = 'x' ORDER BY v;
SELECT v FROM kt_three WHERE (a, b, c) IN ((1, 'x', '2024-01-01 00:00+00'), (1.50, 'x', 'infinity')) ORDER BY v;
UPDATE kt_three SET b = 'y' WHERE v IN (2, 3);
UPDATE kt_three SET (a, c) = (2, 'infinity') WHERE a = 1.5 AND b = 'y' AND c = 'infinity';
DELETE FROM kt_three WHERE a = 2.000 AND b = 'y ' AND c = 'infinity' RETURNING v;
\connect - - - :n3
SELECT * FROM kt_three ORDER BY v;
DROP TABLE kt_three;

-- unique keys: what is equal is the same row
\set VERBOSITY sqlstate
CREATE TABLE kt_number (k numeric PRIMARY KEY, v text) :by_k;
CREATE TABLE kt_any (k text COLLATE kt_any_case PRIMARY KEY, v text) :by_k;
CREATE TABLE kt_float (k float8 PRIMARY KEY, v text) :by_k;
CREATE TABLE kt_span (k interval PRIMARY KEY, v text) :by_k;
CREATE TABLE kt_doc (k jsonb PRIMARY KEY, v text) :by_k;
\connect - - - :n1
INSERT INTO kt_number VALUES (1.0, 'a'), ('NaN', 'b'), (0, 'c');
INSERT INTO kt_any VALUES ('Straße', 'a'), ('b', 'b');
INSERT INTO kt_float VALUES (0, 'a'), ('NaN', 'b');
INSERT INTO kt_span VALUES ('1 mon', 'a'), ('1 day', 'b');
INSERT INTO kt_doc VALUES ('{"a": 1.0}', 'a'), ('null', 'b');
\connect - - - :n2
INSERT INTO kt_number VALUES (1, 'again');
INSERT INTO kt_any VALUES ('STRASSE', 'not the same'), ('STRAßE', 'again');
INSERT INTO kt_float VALUES ('-0', 'again');
INSERT INTO kt_span VALUES ('30 days', 'again');
INSERT INTO kt_doc VALUES ('{"a": 1}', 'again');
INSERT INTO kt_number VALUES (1.000, 'x') ON CONFLICT (k) DO UPDATE SET v = kt_number.v || excluded.v RETURNING *;
INSERT INTO kt_number VALUES (1.000, 'y'), ('NaN', 'y'), (-0.0, 'y'), (7, 'y')
  ON CONFLICT (k) DO UPDATE SET v = kt_number.v || excluded.v;
INSERT INTO kt_any VALUES ('B', 'x'), ('straße', 'x') ON CONFLICT (k) DO UPDATE SET v = kt_any.v || excluded.v;
INSERT INTO kt_float VALUES ('-0', 'x'), ('-NaN', 'x') ON CONFLICT (k) DO UPDATE SET v = kt_float.v || excluded.v;
INSERT INTO kt_span VALUES ('720:00', 'x'), ('24:00', 'x') ON CONFLICT (k) DO NOTHING;
INSERT INTO kt_doc VALUES ('{"a": 1.00}', 'x') ON CONFLICT (k) DO UPDATE SET v = excluded.v;
UPDATE kt_any SET k = upper(k) WHERE k = 'B' RETURNING *;
UPDATE kt_number SET k = 1.00 WHERE k = 1 RETURNING *;
\connect - - - :n3
SELECT * FROM kt_number ORDER BY k;
SELECT * FROM kt_any ORDER BY k;
SELECT * FROM kt_float ORDER BY k;
SELECT * FROM kt_span ORDER BY k;
SELECT * FROM kt_doc ORDER BY k;
SELECT count(*) FROM kt_any WHERE k = 'B';
SELECT a.v, b.v FROM kt_number AS a JOIN kt_number AS b ON a.k = b.k ORDER BY 1;
SELECT k, count(*) FROM kt_float GROUP BY k ORDER BY k;
\set VERBOSITY default

\if :sharded
SET shardman.broadcast_ddl = on;
\endif
DROP TABLE kt_number, kt_any, kt_float, kt_span, kt_doc, kt_spec CASCADE;
DROP TYPE kt_pair;
DROP DOMAIN kt_positive;
DROP DOMAIN kt_word;
DROP COLLATION kt_any_case;
DROP FUNCTION kt_create, kt_insert, kt_find, kt_change, kt_misplaced, kt_where;
