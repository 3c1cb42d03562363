-- The same rows in a plain, a foreign and a sharded table: a statement answers alike on each.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
SET client_min_messages = warning;
CREATE TYPE three_mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE three_pair AS (a int, b text);
CREATE DOMAIN three_positive AS int CHECK (VALUE > 0);
\connect - - - :n3
CREATE TYPE three_mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE three_pair AS (a int, b text);
CREATE DOMAIN three_positive AS int CHECK (VALUE > 0);
\connect - - - :n2
CREATE TYPE three_mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE three_pair AS (a int, b text);
CREATE DOMAIN three_positive AS int CHECK (VALUE > 0);
-- the other side of the foreign tables
CREATE TABLE far_t (id int PRIMARY KEY, k int, v text DEFAULT 'none', n numeric(12, 3), f float8, d date, ts timestamptz, iv interval,
  a int[], mo three_mood, pr three_pair, po three_positive, r int4range, jb jsonb, pt point, by bytea, g int GENERATED ALWAYS AS (id * 2) STORED, CHECK (k < 1000));
CREATE TABLE far_u (id int PRIMARY KEY, t int, w text);
\connect - - - :n1
CREATE SERVER far FOREIGN DATA WRAPPER shardman_fdw OPTIONS (host '127.0.0.1', port :'n2', dbname 'postgres');
CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'postgres');
CREATE TABLE plain_t (id int PRIMARY KEY, k int, v text DEFAULT 'none', n numeric(12, 3), f float8, d date, ts timestamptz, iv interval,
  a int[], mo three_mood, pr three_pair, po three_positive, r int4range, jb jsonb, pt point, by bytea, g int GENERATED ALWAYS AS (id * 2) STORED, CHECK (k < 1000));
CREATE TABLE plain_u (id int PRIMARY KEY, t int, w text);
CREATE FOREIGN TABLE far_t (id int, k int, v text DEFAULT 'none', n numeric(12, 3), f float8, d date, ts timestamptz, iv interval,
  a int[], mo three_mood, pr three_pair, po three_positive, r int4range, jb jsonb, pt point, by bytea, g int GENERATED ALWAYS AS (id * 2) STORED) SERVER far;
CREATE FOREIGN TABLE far_u (id int, t int, w text) SERVER far;
CREATE TABLE sharded_t (id int PRIMARY KEY, k int, v text DEFAULT 'none', n numeric(12, 3), f float8, d date, ts timestamptz, iv interval,
  a int[], mo three_mood, pr three_pair, po three_positive, r int4range, jb jsonb, pt point, by bytea, g int GENERATED ALWAYS AS (id * 2) STORED, CHECK (k < 1000))
  WITH (distributed_by = 'id', num_parts = 6);
CREATE TABLE sharded_u (id int PRIMARY KEY, t int, w text) WITH (distributed_by = 'id', colocate_with = 'sharded_t');
CREATE TABLE here (i int, s text); INSERT INTO here SELECT i, 'h' || i FROM generate_series(1, 12) i;
-- What one statement gives: its rows as text, in order, or its SQLSTATE.
CREATE FUNCTION outcome(query text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE r record; rows text[] := '{}';
BEGIN
  FOR r IN EXECUTE query LOOP rows := rows || r::text; END LOOP;
  RETURN rows;
EXCEPTION WHEN OTHERS THEN RETURN ARRAY['error ' || SQLSTATE];
END$$;
-- Compares them, <t> and <u> being the tables; the rows in the order given if there is one.
CREATE FUNCTION three(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  plain text[]; other text[]; kind text; answer text := '';
BEGIN
  FOREACH kind IN ARRAY ARRAY['plain', 'far', 'sharded'] LOOP
    other := outcome(replace(replace(query, '<t>', kind || '_t'), '<u>', kind || '_u'));
    IF query !~* 'order by [^)]*$' THEN other := ARRAY(SELECT x FROM unnest(other) x ORDER BY x COLLATE "C"); END IF;
    IF kind = 'plain' THEN plain := other;
    ELSIF other IS DISTINCT FROM plain THEN answer := answer || format(' %s DIFFERS: %s, not %s', kind, left(other::text, 300), left(plain::text, 300)); END IF;
  END LOOP;
  RETURN CASE WHEN answer <> '' THEN answer WHEN plain[1] LIKE 'error %' THEN plain[1] ELSE cardinality(plain) || ' rows' END;
END$$;
-- rows
SELECT three('INSERT INTO <t> SELECT i, i % 7, ''v'' || i % 13, i / 8.0, i / 4.0, date ''2020-02-20'' + i, timestamptz ''2020-03-28 22:00 UTC'' + i * interval ''1 hour'', i * interval ''1 day 1 min'',
  ARRAY[i, NULL, i % 3], (''{sad,ok,happy}''::three_mood[])[i % 3 + 1], ROW(i, ''p'' || i)::three_pair, i + 1, int4range(i, i + 5), jsonb_build_object(''i'', i % 5), point(i, 1), decode(to_hex(i + 4096), ''hex'')
  FROM generate_series(0, 99) i RETURNING id, v, g');
SELECT three('INSERT INTO <t> (id, n, f, d, ts, iv) VALUES (200, ''NaN'', ''NaN'', ''infinity'', ''-infinity'', ''-1 mon +2 days''), (201, NULL, ''-Infinity'', ''0044-03-15 BC'', ''0001-01-01 BC'', ''1 year''), (202, 0, ''-0'', NULL, NULL, NULL) RETURNING *');
SELECT three('INSERT INTO <u> SELECT i, CASE WHEN i % 6 > 0 THEN i % 40 END, ''w'' || i % 9 FROM generate_series(1, 80) i RETURNING *');
-- conditions
SELECT three('SELECT * FROM <t>');
SELECT condition, three($$SELECT id FROM <t> WHERE $$ || condition) FROM (VALUES
  ('id = 17'), ('id IN (3, 5, 1000)'), ('id = ANY (ARRAY[1, 2, NULL])'), ('k IS NULL'), ('k IS DISTINCT FROM 3'), ('NOT (k > 3 OR v = ''v5'')'),
  ('v LIKE ''v1%'''), ('v ~ ''^v[12]$'''), ('v > ''v2'' COLLATE "C"'), ('lower(v) || k = ''v33'''), ('n BETWEEN 2 AND 3.5'), ('n = ''NaN'''), ('f = ''NaN'' OR f < 0'),
  ('d < ''2020-02-25'''), ('ts > ''2020-03-29 03:00+02'''), ('ts < now()'), ('iv > ''20 days'''), ('a @> ARRAY[2]'), ('a[3] = 1'), ('mo > ''sad'''), ('mo = ''ok'''), ('(pr).a = 5'), ('pr = ROW(5, ''p5'')::three_pair'),
  ('po = 8'), ('r @> 4'), ('jb @> ''{"i": 2}'''), ('jb ->> ''i'' = ''3'''), ('pt <@ box ''((0,0),(5,5))'''), ('by > ''\x1010'''), ('g = 34'), ('CASE k WHEN 1 THEN id > 50 WHEN 2 THEN true ELSE false END'),
  ('coalesce(k, -1) = -1'), ('nullif(k, 3) IS NULL'), ('greatest(id, k) = 9'), ('(id, k) < (9, 3)'), ('id % 10 = 0 AND random() >= 0'), ('<t> IS NOT NULL'), ('extract(dow FROM d) = 1'), ('row_to_json(pr)::text LIKE ''%p4%''')) c(condition);
-- joins
SELECT three('SELECT t.id, u.id FROM <t> t JOIN <u> u ON u.t = t.id');
SELECT three('SELECT t.id, u.id FROM <t> t JOIN <u> u USING (id) WHERE t.k = 3');
SELECT three('SELECT t.id, u.w FROM <t> t LEFT JOIN <u> u ON u.t = t.id AND u.w > ''w4''');
SELECT three('SELECT t.id, u.w FROM <t> t LEFT JOIN <u> u USING (id) WHERE u.id IS NULL');
SELECT three('SELECT t.id, u.id FROM <t> t RIGHT JOIN <u> u ON u.id = t.id AND t.k = 2');
SELECT three('SELECT t.id, u.id FROM <t> t FULL JOIN <u> u ON u.id = t.id');
SELECT three('SELECT t.id, u.id FROM <t> t, <u> u WHERE t.id < u.id AND t.k = 1 AND u.w = ''w1''');
SELECT three('SELECT t.id FROM <t> t WHERE EXISTS (SELECT FROM <u> u WHERE u.id = t.id AND u.w <> ''w1'')');
SELECT three('SELECT t.id FROM <t> t WHERE NOT EXISTS (SELECT FROM <u> u WHERE u.t = t.id)');
SELECT three('SELECT t.id FROM <t> t WHERE t.k NOT IN (SELECT u.t FROM <u> u WHERE u.t < 5)');
SELECT three('SELECT t.id, x.* FROM <t> t, LATERAL (SELECT u.id, u.w FROM <u> u WHERE u.t = t.id ORDER BY u.id LIMIT 1) x');
SELECT three('SELECT a.id, b.id, c.id FROM <t> a JOIN <u> b USING (id) JOIN <t> c ON c.id = b.t');
SELECT three('SELECT h.s, t.v, t.mo FROM here h JOIN <t> t ON t.id = h.i');
SELECT three('SELECT h.s, t.v FROM here h LEFT JOIN <t> t ON t.id = h.i * 20');
SELECT three('SELECT t, u FROM <t> t JOIN <u> u USING (id)');
-- aggregates
SELECT three('SELECT count(*), count(k), count(DISTINCT k), sum(id), sum(n) FILTER (WHERE id < 100), avg(id), avg(n) FILTER (WHERE id < 50), min(v), max(ts), bool_and(id < 300), bit_or(id) FROM <t>');
SELECT three('SELECT k, count(*), sum(n), min(d), max(a), every(f > 3) FROM <t> WHERE id < 100 GROUP BY k');
SELECT three('SELECT id, count(*), max(v) FROM <t> GROUP BY id HAVING max(id) % 9 = 1');
SELECT three('SELECT id % 4, k, sum(id) FROM <t> GROUP BY 1, 2 HAVING count(*) > 3');
SELECT three('SELECT string_agg(v, '';'' ORDER BY id DESC), array_agg(DISTINCT k ORDER BY k), percentile_disc(0.3) WITHIN GROUP (ORDER BY id) FROM <t>');
SELECT three('SELECT mo, count(*), min(id) FROM <t> GROUP BY ROLLUP (mo)');
SELECT three('SELECT stddev(id), variance(n) FILTER (WHERE id < 60), corr(f, id) FILTER (WHERE id = 1) FROM <t>');
SELECT three('SELECT sum(id), count(*) FROM <t> WHERE id > 5000');
SELECT three('SELECT u.w, count(*), sum(t.n) FROM <t> t JOIN <u> u USING (id) GROUP BY u.w');
SELECT three('SELECT DISTINCT k, mo FROM <t>');
SELECT three('SELECT DISTINCT ON (k) k, id FROM <t> ORDER BY k, id DESC');
-- order and limits
SELECT three('SELECT id, v FROM <t> ORDER BY id LIMIT 7');
SELECT three('SELECT id, k FROM <t> ORDER BY k DESC NULLS LAST, id OFFSET 5 LIMIT 12');
SELECT three('SELECT v, id FROM <t> ORDER BY v, id OFFSET 90');
SELECT three('SELECT n, id FROM <t> ORDER BY n NULLS FIRST, id DESC FETCH FIRST 4 ROWS WITH TIES');
SELECT three('SELECT mo, id FROM <t> ORDER BY mo DESC, id LIMIT 5');
SELECT three('SELECT id FROM <t> ORDER BY lower(v), id LIMIT 3');
SELECT three('SELECT id FROM <t> LIMIT 0');
SELECT three('SELECT t.id, u.w FROM <t> t JOIN <u> u USING (id) ORDER BY u.w DESC, t.id LIMIT 6');
SELECT three('SELECT id, rank() OVER (PARTITION BY k ORDER BY id), sum(id) OVER (ORDER BY id ROWS 2 PRECEDING) FROM <t> ORDER BY id');
SELECT three('SELECT id FROM <t> UNION SELECT t FROM <u>');
SELECT three('SELECT k FROM <t> EXCEPT ALL SELECT t FROM <u>');
SELECT three('WITH w AS MATERIALIZED (SELECT * FROM <t> WHERE k = 1) SELECT w.id, u.id FROM w JOIN <u> u ON u.t = w.id');
SELECT three('WITH RECURSIVE x AS (SELECT id, t FROM <u> WHERE id = 77 UNION SELECT u.id, u.t FROM <u> u JOIN x ON u.id = x.t) SELECT * FROM x');
SELECT three('SELECT id FROM <t> WHERE id = (SELECT max(id) FROM <u>)');
SELECT three('SELECT id, (SELECT count(*) FROM <u> u WHERE u.t = t.id) FROM <t> t');
-- locks and system columns
SELECT three('SELECT id FROM <t> WHERE k = 4 FOR UPDATE');
SELECT three('SELECT id FROM <t> WHERE k = 4 FOR NO KEY UPDATE NOWAIT');
SELECT three('SELECT id FROM <t> WHERE k = 4 FOR SHARE SKIP LOCKED');
SELECT three('SELECT id, ctid IS NOT NULL, tableoid IS NOT NULL FROM <t> WHERE id < 9');
-- changes
SELECT three('UPDATE <t> SET v = v || ''!'', n = n + 1 WHERE k = 2 RETURNING id, v, n');
SELECT three('UPDATE <t> SET a = a || 7, mo = ''happy'', pr = ROW(1, NULL)::three_pair, jb = jb || ''{"x": null}'' WHERE id < 5 RETURNING *');
SELECT three('UPDATE <t> t SET v = u.w FROM <u> u WHERE u.id = t.id AND u.t = 4 RETURNING t.id, u.id, t.v');
SELECT three('UPDATE <t> SET v = h.s FROM here h WHERE h.i = <t>.id RETURNING id, v, h.i');
SELECT three('UPDATE <t> SET k = (SELECT max(t) FROM <u>) WHERE id IN (7, 8) RETURNING id, k');
SELECT three('UPDATE <t> SET v = DEFAULT WHERE id = 30 RETURNING v');
SELECT three('UPDATE <t> SET k = 1000 WHERE id = 31 RETURNING id');
SELECT three('UPDATE <t> SET po = -1 WHERE id = 31 RETURNING id');
SELECT three('DELETE FROM <t> WHERE id BETWEEN 60 AND 69 RETURNING id, g, v');
SELECT three('DELETE FROM <t> t USING <u> u WHERE u.id = t.id AND u.w = ''w8'' RETURNING t.id, u.w');
SELECT three('WITH gone AS (DELETE FROM <t> WHERE id = 50 RETURNING *) SELECT id, v FROM gone');
SELECT three('WITH new AS (INSERT INTO <t> (id) VALUES (300), (301), (302) RETURNING *) SELECT id, v, g FROM new');
SELECT three('INSERT INTO <t> (id) VALUES (300) RETURNING id');
SELECT three('INSERT INTO <t> (id) VALUES (300), (303) ON CONFLICT DO NOTHING RETURNING id');
SELECT three('INSERT INTO <t> (id, k) VALUES (304, 1000) RETURNING id');
SELECT three('INSERT INTO <t> SELECT id + 500, t FROM <u> RETURNING id, k, v, g');
SELECT three('SELECT * FROM <t>');
-- COPY, parameters, TRUNCATE
COPY plain_u FROM PROGRAM 'seq 1000 3499 | sed "s/.*/&\t7\tc&/"';
COPY far_u FROM PROGRAM 'seq 1000 3499 | sed "s/.*/&\t7\tc&/"';
COPY sharded_u FROM PROGRAM 'seq 1000 3499 | sed "s/.*/&\t7\tc&/"';
SELECT three('SELECT count(*), min(w), max(w), sum(id) FROM <u>');
CREATE FUNCTION by_key(kind text, i int) RETURNS SETOF text LANGUAGE plpgsql AS $$BEGIN RETURN QUERY EXECUTE format('SELECT w FROM %s_u WHERE id = $1', kind) USING i; END$$;
SELECT kind, array_agg(w ORDER BY i) FROM (VALUES ('plain'), ('far'), ('sharded')) k(kind), generate_series(1, 4) i, by_key(kind, i) w GROUP BY kind ORDER BY kind;
BEGIN; TRUNCATE plain_u, far_u, sharded_u; SELECT three('SELECT * FROM <u>'); ROLLBACK;
SELECT three('SELECT count(*) FROM <u>');
-- a difference is seen
INSERT INTO plain_u VALUES (-1, NULL, NULL);
SELECT three('SELECT * FROM <u> WHERE id < 0');
-- clean up
DROP TABLE plain_t, plain_u, here; DROP TABLE sharded_u; DROP TABLE sharded_t; DROP FOREIGN TABLE far_t, far_u;
DROP FUNCTION outcome, three, by_key; DROP SERVER far CASCADE;
DROP TYPE three_mood, three_pair, three_positive;
\connect - - - :n2
DROP TABLE far_t, far_u; DROP TYPE three_mood, three_pair, three_positive;
\connect - - - :n3
DROP TYPE three_mood, three_pair, three_positive;
