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
