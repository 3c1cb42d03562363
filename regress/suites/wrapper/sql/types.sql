-- Every kind of type makes the round trip: written through the wrapper, read
-- through it, compared with what the other server holds.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\connect - - - :n2
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (a int, b text, c timestamptz);
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE TABLE ty (id int PRIMARY KEY, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric,
  n52 numeric(5,2), t text, vc varchar(5), ch char(5), nm name, c1 "char", by bytea, d date, tm time, tmz timetz, ts timestamp,
  tz timestamptz, ts0 timestamp(0), iv interval, u uuid, j json, jb jsonb, x xml, ip inet, ci cidr, mac macaddr, mac8 macaddr8,
  bt bit(5), vb varbit, pt point, bx box, po polygon, ci2 circle, ls lseg, pa path, li line, m money, r int4range, nr numrange, mr int4multirange,
  tsv tsvector, tsq tsquery, o oid, rc regclass, rt regtype, ia int[], ta text[], ia2 int[][], tza timestamptz[], na numeric[], mo mood, moa mood[],
  p pair, pas pair[], po2 posint, acl aclitem, lsn pg_lsn, txs pg_snapshot, jp jsonpath, tid2 tid, xid8c xid8, ua uuid[]);
\connect - - - :n1
CREATE TYPE mood AS ENUM ('happy', 'ok', 'sad');
CREATE TYPE pair AS (a int, b text, c timestamptz);
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE TABLE ty_l (id int PRIMARY KEY, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric,
  n52 numeric(5,2), t text, vc varchar(5), ch char(5), nm name, c1 "char", by bytea, d date, tm time, tmz timetz, ts timestamp,
  tz timestamptz, ts0 timestamp(0), iv interval, u uuid, j json, jb jsonb, x xml, ip inet, ci cidr, mac macaddr, mac8 macaddr8,
  bt bit(5), vb varbit, pt point, bx box, po polygon, ci2 circle, ls lseg, pa path, li line, m money, r int4range, nr numrange, mr int4multirange,
  tsv tsvector, tsq tsquery, o oid, rc regclass, rt regtype, ia int[], ta text[], ia2 int[][], tza timestamptz[], na numeric[], mo mood, moa mood[],
  p pair, pas pair[], po2 posint, acl aclitem, lsn pg_lsn, txs pg_snapshot, jp jsonpath, tid2 tid, xid8c xid8, ua uuid[]);
CREATE FOREIGN TABLE ty (id int, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric,
  n52 numeric(5,2), t text, vc varchar(5), ch char(5), nm name, c1 "char", by bytea, d date, tm time, tmz timetz, ts timestamp,
  tz timestamptz, ts0 timestamp(0), iv interval, u uuid, j json, jb jsonb, x xml, ip inet, ci cidr, mac macaddr, mac8 macaddr8,
  bt bit(5), vb varbit, pt point, bx box, po polygon, ci2 circle, ls lseg, pa path, li line, m money, r int4range, nr numrange, mr int4multirange,
  tsv tsvector, tsq tsquery, o oid, rc regclass, rt regtype, ia int[], ta text[], ia2 int[][], tza timestamptz[], na numeric[], mo mood, moa mood[],
  p pair, pas pair[], po2 posint, acl aclitem, lsn pg_lsn, txs pg_snapshot, jp jsonpath, tid2 tid, xid8c xid8, ua uuid[]) SERVER s2;
SET datestyle = 'SQL, DMY'; SET intervalstyle = 'sql_standard'; SET extra_float_digits = 0; SET timezone = 'Asia/Kolkata';
INSERT INTO ty_l (id) VALUES (1);
INSERT INTO ty_l VALUES (2, true, -32768, -2147483648, -9223372036854775808, 1.1, 0.1::float8+0.2, 12345678901234567890.123456789, 123.45,
 E'q\'"\\ \u00e9\n', 'abc', 'ab', 'nm', 'c', '\x00ff5c27', '4713-01-01 BC', '23:59:59.999999', '12:00:00.5+05:45', '0044-03-15 BC 12:00',
 '2020-02-29 12:34:56.789+00', '2001-01-01 00:00:00', '-1 day +02:03:04.5', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": [1, 2.0, null]}', '{"z":1,"a":{"b":"\u00e9"}}',
 '<a>x</a>', '192.168.1.5/24', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', B'10101', B'1', '(1,2)', '((0,0),(1,1))', '((0,0),(1,1),(1,0))', '<(0,0),1>',
 '[(0,0),(1,1)]', '((0,0),(1,1))', '{1,2,3}', 12.34, '[1,5)', '(,1.5]', '{[1,3),[5,7)}', 'a fat cat', 'fat & cat', 4294967295, 'pg_class', 'integer[]', '{1,NULL,3}', '{"a","b c",NULL,"\"q\""}',
 '{{1,2},{3,4}}', '{2020-01-01 00:00:00+00,infinity}', '{NaN,1.5}', 'happy', '{sad,NULL}', ROW(1,'x,"y',timestamptz '2020-05-06 07:08:09.123456+00'), ARRAY[ROW(1,'a',NULL)::pair], 5,
 'postgres=r/postgres', '16/B374D848', '10:20:10,14,15', '$.a[*] ? (@ > 1)', '(1,2)', '5', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,NULL}');
INSERT INTO ty_l (id, f4, f8, n, d, ts, tz, t, by, ia, ta, r, iv, i2, i4, i8, ch) VALUES
 (3, 'NaN', '-infinity', 'NaN', 'infinity', '-infinity', 'infinity', '', '', '{}', '{}', 'empty', '178000000 years', 32767, 2147483647, 9223372036854775807, ''),
 (4, '-0', 1e-300, 'Infinity', '5874897-12-31', '294276-12-31 23:59:59.999999', '4714-11-24 00:00:00+00 BC', repeat('x', 100000), decode(repeat('ab', 5000), 'hex'), '[5:6]={1,2}', ARRAY[''], '[,]', '-00:00:00.000001', 0, 0, 0, 'abcde');
INSERT INTO ty SELECT * FROM ty_l;
-- one row at a time too
DELETE FROM ty; INSERT INTO ty SELECT * FROM ty_l WHERE id = 2; INSERT INTO ty SELECT * FROM ty_l WHERE id <> 2;
SELECT f.id, f::text = l::text AS same FROM ty f JOIN ty_l l USING (id) ORDER BY id;
SELECT count(*) FROM (SELECT f.*::text FROM ty f EXCEPT SELECT l.*::text FROM ty_l l) d;
-- updates by ctid with every type
UPDATE ty SET t = 'u' || id, ia = ia || 7, mo = 'ok', p = ROW(9,'z',NULL)::pair WHERE id IN (2, 3) RETURNING id, t, ia, mo, p;
-- a client in another encoding: values stay in the database's
SET client_encoding = 'LATIN1';
SELECT id, length(t), jb, octet_length(t) FROM ty WHERE id = 2;
INSERT INTO ty (id, t, jb, nm) VALUES (7, 'd' || U&'\00e9' || 'f', ('{"k":"' || U&'\00e9' || '"}')::jsonb, U&'n\00e9');
RESET client_encoding;
SELECT id, t, jb, nm, ta FROM ty WHERE id = 7;
RESET ALL;
\connect - - - :n2
SELECT id, f8, n, d, ts, tz, iv, mo, p, rc, t, length(by) FROM ty WHERE id IN (2, 3) ORDER BY id;
SELECT id, t, jb, nm FROM ty WHERE id = 7;
-- clean up
\set VERBOSITY default
\connect - - - :n3
SET client_min_messages = warning;
DROP SCHEMA public CASCADE; CREATE SCHEMA public;
\connect - - - :n2
SET client_min_messages = warning;
DROP SCHEMA public CASCADE; CREATE SCHEMA public;
\connect - - - :n1
SET client_min_messages = warning;
DROP SCHEMA public CASCADE; CREATE SCHEMA public;
