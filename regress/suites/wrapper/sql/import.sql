-- IMPORT FOREIGN SCHEMA, its options and lists.
\getenv n1 N1
\getenv n2 N2
\connect - - - :n2
CREATE SCHEMA im;
CREATE DOMAIN im.d AS int CHECK (value > 0);
CREATE COLLATION im."My c" (locale = 'C');
CREATE TABLE im."T 'quoted" (id int NOT NULL DEFAULT 5, "se'l\x" text COLLATE im."My c", x im.d, g int GENERATED ALWAYS AS (id * 2) STORED, n numeric(10, 2)[] DEFAULT '{1}');
INSERT INTO im."T 'quoted" VALUES (1, 'a', 2);
CREATE VIEW im.vv AS SELECT 1 AS a, 'x'::text COLLATE "C" AS b;
CREATE MATERIALIZED VIEW im.mv AS SELECT 2 AS "select";
CREATE TABLE im.e ();
CREATE TABLE im.p (i int) PARTITION BY LIST (i);
CREATE TABLE im.p1 PARTITION OF im.p FOR VALUES IN (1);
CREATE TABLE im.lots (a int, b varchar(30));
ALTER TABLE im.lots DROP COLUMN a;
CREATE SEQUENCE im.no_table;
\connect - - - :n1
CREATE SCHEMA im;
CREATE DOMAIN im.d AS int CHECK (value > 0);
CREATE COLLATION im."My c" (locale = 'C');
CREATE SCHEMA im_here;
IMPORT FOREIGN SCHEMA im FROM SERVER s2 INTO im_here;
\d im_here.*
SELECT * FROM im_here."T 'quoted";
SELECT * FROM im_here.vv, im_here.mv;
-- a name that is taken
IMPORT FOREIGN SCHEMA im LIMIT TO (e) FROM SERVER s2 INTO im_here;
DROP SCHEMA im_here CASCADE;
CREATE SCHEMA im_here;
IMPORT FOREIGN SCHEMA im LIMIT TO ("T 'quoted", p1, none) FROM SERVER s2 INTO im_here OPTIONS (import_default 'true', import_collate 'false', import_not_null 'off', import_generated 'false');
\d im_here.*
IMPORT FOREIGN SCHEMA im EXCEPT ("T 'quoted", p, lots, vv) FROM SERVER s2 INTO im_here;
SELECT relname FROM pg_class WHERE relnamespace = 'im_here'::regnamespace ORDER BY 1;
-- refused
IMPORT FOREIGN SCHEMA im FROM SERVER s2 INTO im_here OPTIONS (import_defaults 'true');
IMPORT FOREIGN SCHEMA im FROM SERVER s2 INTO im_here OPTIONS (fetch_size '10');
IMPORT FOREIGN SCHEMA im FROM SERVER s2 INTO im_here OPTIONS (import_default '7');
IMPORT FOREIGN SCHEMA nowhere FROM SERVER s2 INTO im_here;
DROP SCHEMA im_here CASCADE;
DROP SCHEMA im CASCADE;
\connect - - - :n2
DROP SCHEMA im CASCADE;
