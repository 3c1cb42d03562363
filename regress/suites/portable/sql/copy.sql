-- COPY in and out, in every format that psql can carry.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\else
\set by_id ''
\endif
CREATE TABLE copy_t (id int PRIMARY KEY, name text DEFAULT 'nobody', amount numeric) :by_id;
COPY copy_t FROM stdin;
1	one	1.5
2	two	\N
3	tab\there	-7
4	back\\slash	0
5		5
\.
\connect - - - :n2
COPY copy_t (id, amount) FROM stdin WITH (FORMAT csv);
10,100
11,
12,1e3
\.
COPY copy_t FROM stdin WITH (FORMAT csv, HEADER, DELIMITER ';', NULL 'none');
id;name;amount
20;"a;b";1
21;"say ""hi""";2
22;none;none
23;"two
lines";3
\.
\connect - - - :n3
SELECT * FROM copy_t ORDER BY id;
COPY copy_t FROM stdin WITH (FORMAT csv) WHERE id % 2 = 0;
30,even,1
31,odd,2
32,even,3
\.
SELECT id FROM copy_t WHERE id >= 30 ORDER BY id;
COPY (SELECT * FROM copy_t WHERE id < 10 ORDER BY id) TO stdout;
COPY (SELECT * FROM copy_t WHERE id >= 20 ORDER BY id) TO stdout WITH (FORMAT csv, HEADER, FORCE_QUOTE (name));

-- a bad row leaves nothing of its COPY behind, on any node
\set VERBOSITY sqlstate
\connect - - - :n1
COPY copy_t FROM stdin;
40	forty	40
41	forty-one	41
42	forty-two	many
\.
COPY copy_t FROM stdin;
43	forty-three	1
44	forty-four	1
1	again	1
\.
COPY copy_t FROM stdin;
45	short
\.
\connect - - - :n2
SELECT count(*) FROM copy_t WHERE id >= 40;

-- more rows than any batch holds
\connect - - - :n3
CREATE TABLE copy_big (id int PRIMARY KEY, filler text) :by_id;
INSERT INTO copy_big SELECT g, 'row ' || g FROM generate_series(1, 5000) g;
\connect - - - :n1
SELECT count(*), sum(id), min(filler), max(length(filler)) FROM copy_big;
DROP TABLE copy_t;
DROP TABLE copy_big;

-- columns whose values travel as text, because binary would carry OIDs; every
-- byte that COPY's own text form treats in a special way; generated columns
CREATE TYPE copy_mood AS ENUM ('sad', 'ok', E'tab\t, back\\slash');
\connect - - - :n2
\if :sharded
CREATE TYPE copy_mood AS ENUM ('sad', 'ok', E'tab\t, back\\slash');
\endif
\connect - - - :n3
\if :sharded
CREATE TYPE copy_mood AS ENUM ('sad', 'ok', E'tab\t, back\\slash');
\endif
CREATE TABLE copy_mixed (
    id int PRIMARY KEY, mood copy_mood, moods copy_mood[], rel regclass, t text, b bytea,
    i interval, at timestamptz, f float8, doubled int GENERATED ALWAYS AS (id * 2) STORED
) :by_id;
SET datestyle = 'SQL, DMY';
SET intervalstyle = 'iso_8601';
SET timezone = 'Europe/Berlin';
INSERT INTO copy_mixed
SELECT g, (enum_range(NULL::copy_mood))[1 + g % 3], CASE WHEN g % 4 > 0 THEN enum_range(NULL::copy_mood) END,
       CASE WHEN g % 2 = 0 THEN 'pg_class'::regclass END,
       CASE g % 7 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN '\N' WHEN 3 THEN '\.' WHEN 4 THEN E'a\r\nb\tc\bd'
                  WHEN 5 THEN 'äöü \ ''"' ELSE repeat('x', 3000) END,
       CASE WHEN g % 5 > 0 THEN decode(lpad(to_hex(g), 8, '0'), 'hex') END,
       make_interval(months => g, hours => -g), '2024-05-06 07:08:09.123456+02'::timestamptz + g * interval '1 day',
       1.0 / g
FROM generate_series(1, 300) g;
CREATE TABLE copy_again (LIKE copy_mixed INCLUDING ALL) :by_id;
COPY (SELECT id, mood, moods, rel, t, b, i, at, f FROM copy_mixed) TO PROGRAM 'cat >copy_mixed.data';
COPY copy_again (id, mood, moods, rel, t, b, i, at, f) FROM PROGRAM 'cat copy_mixed.data; rm copy_mixed.data';
SELECT count(*), count(mood), count(moods), count(rel), count(t), count(b), sum(doubled) FROM copy_again;
SELECT count(*) FROM copy_mixed a JOIN copy_again b USING (id)
WHERE (a.mood, a.t, a.b, a.i, a.at, a.f, a.moods, a.rel, a.doubled)
      IS NOT DISTINCT FROM (b.mood, b.t, b.b, b.i, b.at, b.f, b.moods, b.rel, b.doubled);
SELECT count(*) FROM copy_again WHERE f = 1.0::float8 / id AND mood::text = (enum_range(NULL::copy_mood))[1 + id % 3]::text
    AND i = make_interval(months => id, hours => -id);
RESET ALL;
DROP TABLE copy_mixed;
DROP TABLE copy_again;

-- rows wider than any chunk, and only a few of them
CREATE TABLE copy_wide (id int PRIMARY KEY, t text) :by_id;
INSERT INTO copy_wide SELECT g, repeat(g::text, 1000000) FROM generate_series(1, 8) g;
SELECT id, length(t), md5(t) FROM copy_wide ORDER BY id;
DROP TABLE copy_wide;

-- a table with another shape than its key's: the key last, a column that is left out
CREATE TABLE copy_late (a text DEFAULT 'a', b int DEFAULT 7, id bigint PRIMARY KEY) :by_id;
COPY copy_late (id) FROM stdin;
1
2
3
\.
COPY copy_late (id, b) FROM stdin;
4	\N
5	5
\.
SELECT * FROM copy_late ORDER BY id;
BEGIN;
COPY copy_late (id) FROM stdin;
6
7
8
9
\.
SAVEPOINT s;
COPY copy_late (id) FROM stdin;
10
11
12
6
\.
ROLLBACK TO s;
COPY copy_late (id) FROM stdin;
10
11
\.
COMMIT;
SELECT count(*), sum(id) FROM copy_late;
DROP TABLE copy_late;
