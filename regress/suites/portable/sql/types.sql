-- Values of the common types survive the way to another node and back.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\else
\set by_id ''
\endif
CREATE TABLE types_number (id int PRIMARY KEY, i2 int2, i4 int4, i8 int8, n numeric, n2 numeric(10, 3),
                           f4 float4, f8 float8, b bool, m money, o oid) :by_id;
INSERT INTO types_number VALUES
  (1, 0, 0, 0, 0, 0, 0, 0, false, 0::money, 0),
  (2, 32767, 2147483647, 9223372036854775807, 12345678901234567890.123456789, 1234567.891, 3.4e38, 1.7976931348623157e308, true, 12.34::money, 4294967295),
  (3, -32768, -2147483648, -9223372036854775808, -0.000000000000000000001, -0.001, 1.1754944e-38, 2.2250738585072014e-308, NULL, (-1)::money, 1),
  (4, NULL, NULL, NULL, 'NaN', 'NaN', 'NaN', 'NaN', NULL, NULL, NULL),
  (5, NULL, NULL, NULL, 'Infinity', NULL, 'Infinity', 'Infinity', NULL, NULL, NULL),
  (6, NULL, NULL, NULL, '-Infinity', NULL, '-Infinity', '-Infinity', NULL, NULL, NULL),
  (7, 1, 1, 1, 1.10, 1.1, 0.1, 0.1, true, 0.01::money, 1),
  (8, 1, 1, 1, 1e-10, 1.1, '-0', '-0', true, 0.01::money, 1);

CREATE TABLE types_text (id int PRIMARY KEY, t text, v varchar(10), c char(5), n name, b bytea, q "char") :by_id;
INSERT INTO types_text VALUES
  (1, '', '', '', '', '', ''),
  (2, 'plain', 'plain', 'abc', 'plain', '\x00ff10', 'x'),
  (3, 'quote '' double " back \ tab' || E'\t' || 'newline' || E'\n' || '.', 'a''b', 'a''b', 'a"b', '\x5c27', ''''),
  (4, 'Grüße, мир, 世界, 🐘', 'Grüße', 'é', 'мир', convert_to('世界', 'UTF8'), 'y'),
  (5, NULL, NULL, NULL, NULL, NULL, NULL),
  (6, repeat('long ', 2000), 'x', 'x', 'x', decode(repeat('ab', 3000), 'hex'), 'z'),
  (7, '\N', 'NULL', '\.', 'null', '\x', '\');

CREATE TABLE types_time (id int PRIMARY KEY, d date, t time, tz timetz, ts timestamp, tstz timestamptz, i interval) :by_id;
INSERT INTO types_time VALUES
  (1, '2000-01-01', '00:00', '00:00+00', '2000-01-01 00:00', '2000-01-01 00:00+00', '0'),
  (2, 'infinity', '24:00', '23:59:59.999999-15:59', 'infinity', 'infinity', '1 year 2 months 3 days 04:05:06.789'),
  (3, '-infinity', '12:34:56.123456', '12:00+05:30', '-infinity', '-infinity', '-1 year +1 day -00:00:01'),
  (4, '4713-01-01 BC', '01:02:03', '01:02:03+00', '4713-01-01 00:00:00 BC', '4713-01-02 00:00:00+00 BC', '178000000 years'),
  (5, '5874897-12-31', '23:59:59.5', '04:00-08', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '-178000000 years'),
  (6, '0044-03-15 BC', NULL, NULL, '0044-03-15 12:00 BC', '2024-03-31 02:30+01', '1.5 months'),
  (7, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE types_other (id int PRIMARY KEY, u uuid, j json, jb jsonb, ia int[], ta text[], na numeric[], inet inet, cidr cidr,
                          mac macaddr, bt bit(4), vb varbit, p point, bx box, ir int4range, tr tstzrange, mr int4multirange,
                          tv tsvector, tq tsquery, x xml, lsn pg_lsn) :by_id;
INSERT INTO types_other VALUES
  (1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"b": 1,  "a": [1, 2.50, null]}', '{"b": 1, "a": [1, 2.50, null], "t": "\u00e9\"\\"}',
   '{1,NULL,3}', '{"a b","c,d","e\"f","g\\h",NULL,"NULL",""}', '{1.10,NaN,Infinity}', '192.168.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03',
   B'1010', B'10101010101', '(1.5,-2.25)', '((1,1),(0,0))', '[1,10)', '["2024-01-01 00:00+00",)', '{[1,3),[5,8)}',
   'fat:2A cat:1', 'fat & (rat | !cat)', '<a b="c">d</a>', '16/B374D848'),
  (2, NULL, 'null', 'null', '{}', '{}', '{}', '::1', '::/0', NULL, NULL, B'', NULL, NULL, 'empty', 'empty', '{}', '', '', NULL, NULL),
  (3, NULL, NULL, NULL, '{{1,2},{3,4}}', '[2:3]={x,y}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '(,)', NULL, NULL, NULL, NULL, NULL, NULL);

\connect - - - :n2
SELECT * FROM types_number ORDER BY id;
SELECT id, t, v, c || '|' AS c, n, b, q FROM types_text WHERE id <> 6 ORDER BY id;
SELECT id, length(t), md5(t), length(b), md5(b) FROM types_text WHERE id = 6;
SELECT * FROM types_time ORDER BY id;
\x on
SELECT * FROM types_other ORDER BY id;
\x off

-- from a third node: as conditions and as new values
\connect - - - :n3
SELECT id FROM types_number WHERE n = 'NaN' OR f8 = 'Infinity' ORDER BY id;
SELECT id FROM types_number WHERE n2 > 1.1 AND n2 <> 'NaN' ORDER BY id;
SELECT id FROM types_number WHERE f4 = 0.1::float4 ORDER BY id;
SELECT id FROM types_text WHERE t = 'quote '' double " back \ tab' || E'\t' || 'newline' || E'\n' || '.';
SELECT id FROM types_text WHERE b = '\x00ff10';
SELECT id FROM types_text WHERE c = 'abc';
SELECT id FROM types_time WHERE d < '0001-01-01 BC' ORDER BY id;
SELECT id FROM types_time WHERE tstz = '2024-03-31 01:30+00';
SELECT id FROM types_time WHERE i > '1 year' ORDER BY id;
SELECT id FROM types_other WHERE jb @> '{"b": 1}';
SELECT id FROM types_other WHERE ia @> '{3}' ORDER BY id;
SELECT id FROM types_other WHERE ir @> 5 ORDER BY id;
SELECT id FROM types_other WHERE inet << '192.168.0.0/16';
UPDATE types_other SET jb = jb || '{"new": {"x": [true]}}', ta = ta || 'added'::text, ia[2] = 22 WHERE id = 1
  RETURNING jb, ta, ia;
UPDATE types_number SET n = n * 2, f8 = f8 / 3 WHERE id = 7 RETURNING n, f8;
UPDATE types_time SET d = d + 1, ts = ts + '1 hour' WHERE id = 1 RETURNING d, ts;
\connect - - - :n1
SELECT jb ->> 'new', ia[2], ta[8] FROM types_other WHERE id = 1;
SELECT n, f8 FROM types_number WHERE id = 7;

-- the settings of the session decide how values look, not those of a node
SET DateStyle = 'ISO, DMY';
SET IntervalStyle = 'iso_8601';
SET TimeZone = 'Asia/Kolkata';
SET extra_float_digits = 0;
SET bytea_output = 'escape';
SELECT d, ts, tstz, i FROM types_time WHERE id IN (1, 6) ORDER BY id;
SELECT f4, f8 FROM types_number WHERE id = 7;
SELECT b FROM types_text WHERE id = 3;
INSERT INTO types_time (id, d, tstz) VALUES (10, '02/03/2024', '2024-06-01 12:00');
\connect - - - :n2
SELECT d, tstz FROM types_time WHERE id = 10;
DROP TABLE types_number;
DROP TABLE types_text;
DROP TABLE types_time;
DROP TABLE types_other;
