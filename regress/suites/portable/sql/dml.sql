-- INSERT, SELECT, UPDATE, DELETE and RETURNING, each through several nodes.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\else
\set by_id ''
\endif
CREATE TABLE dml_item (id int PRIMARY KEY, name text NOT NULL, price numeric(8, 2) DEFAULT 1.50, note text) :by_id;
INSERT INTO dml_item VALUES (1, 'one', 1.00, NULL);
INSERT INTO dml_item (id, name) VALUES (2, 'two'), (3, 'three'), (4, 'four');

-- seen from another node, and written there
\connect - - - :n2
SELECT * FROM dml_item ORDER BY id;
INSERT INTO dml_item SELECT g, 'generated ' || g, g * 1.1, CASE WHEN g % 3 = 0 THEN 'third' END
  FROM generate_series(5, 40) g;
INSERT INTO dml_item (id, name) VALUES (41, 'forty-one') RETURNING id, name, price, note;
SELECT count(*), min(id), max(id), sum(price) FROM dml_item;

\connect - - - :n3
SELECT id, name FROM dml_item WHERE id = 17;
SELECT id FROM dml_item WHERE id IN (3, 9, 27, 99) ORDER BY id;
SELECT id FROM dml_item WHERE id BETWEEN 10 AND 13 ORDER BY id;
SELECT id FROM dml_item WHERE name LIKE 'generated 1%' ORDER BY id;
SELECT count(*) FROM dml_item WHERE note IS NULL;
SELECT count(*) FROM dml_item WHERE false;

-- one row, some rows, all rows
UPDATE dml_item SET name = 'seventeen' WHERE id = 17;
WITH dearer AS (UPDATE dml_item SET price = price + 1 WHERE id < 4 RETURNING id, price) SELECT * FROM dearer ORDER BY id;
UPDATE dml_item SET note = upper(note) WHERE note IS NOT NULL;
UPDATE dml_item SET note = coalesce(note, '-');
\connect - - - :n1
SELECT id, name, price, note FROM dml_item WHERE id IN (1, 2, 3, 17) ORDER BY id;
SELECT note, count(*) FROM dml_item GROUP BY note ORDER BY note;

-- a source of rows in another table
CREATE TABLE dml_change (id int PRIMARY KEY, factor int) :by_id;
INSERT INTO dml_change SELECT g, g * 10 FROM generate_series(1, 5) g;
UPDATE dml_item i SET price = i.price * c.factor FROM dml_change c WHERE c.id = i.id;
SELECT id, price FROM dml_item WHERE id <= 6 ORDER BY id;
DELETE FROM dml_item i USING dml_change c WHERE c.id = i.id AND c.factor > 30;
\connect - - - :n2
SELECT id FROM dml_item WHERE id <= 6 ORDER BY id;

DELETE FROM dml_item WHERE id = 6;
DELETE FROM dml_item WHERE id = 6;
DELETE FROM dml_item WHERE id = 7 RETURNING name, price;
WITH gone AS (DELETE FROM dml_item WHERE id > 35 RETURNING id)
  SELECT count(*), min(id), max(id) FROM gone;
WITH new AS (INSERT INTO dml_item (id, name) VALUES (100, 'hundred'), (101, 'more') RETURNING id)
  SELECT sum(id) FROM new;
\connect - - - :n3
SELECT count(*), sum(id) FROM dml_item;

INSERT INTO dml_item VALUES (200, 'two hundred', DEFAULT, 'x') RETURNING *;
DELETE FROM dml_item;
SELECT count(*) FROM dml_item;
DROP TABLE dml_item;
DROP TABLE dml_change;
