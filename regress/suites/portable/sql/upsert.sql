-- INSERT … ON CONFLICT of one row, through every node.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\else
\set by_id ''
\endif
CREATE TABLE up (id bigint PRIMARY KEY, v text DEFAULT 'none', n int, twice int GENERATED ALWAYS AS (n * 2) STORED) :by_id;
INSERT INTO up (id, n) SELECT g, g FROM generate_series(1, 12) g;
INSERT INTO up (id, n) VALUES (1, 50) ON CONFLICT DO NOTHING;
INSERT INTO up (id, n) VALUES (2, 50) ON CONFLICT (id) DO NOTHING;
INSERT INTO up (id, n) VALUES (13, 13) ON CONFLICT (id) DO NOTHING RETURNING *;
INSERT INTO up (id, n) VALUES (13, 13) ON CONFLICT (id) DO NOTHING RETURNING *;
INSERT INTO up (id, n) VALUES (3, 50) ON CONFLICT (id) DO UPDATE SET n = excluded.n * 10 RETURNING id, n, twice;
INSERT INTO up (id, n) VALUES (14, 14) ON CONFLICT (id) DO UPDATE SET n = excluded.n * 10 RETURNING id, n, twice;
INSERT INTO up AS u (id, n) VALUES (4, 7) ON CONFLICT (id) DO UPDATE SET n = u.n + excluded.n, v = 'again' WHERE u.n < 80 RETURNING u.*;
INSERT INTO up AS u (id, n) VALUES (5, 7) ON CONFLICT (id) DO UPDATE SET n = 0 WHERE u.n > 1000 RETURNING id;
INSERT INTO up AS u (id, n) VALUES (6, 7) ON CONFLICT (id) DO UPDATE SET (n, v) = (excluded.n, DEFAULT) RETURNING u.*;
\c - - - :n2
PREPARE up (bigint, int) AS INSERT INTO up (id, n, v) VALUES ($1, $2, 'p' || $2)
    ON CONFLICT (id) DO UPDATE SET n = up.n + excluded.n, v = excluded.v RETURNING id, v, n;
EXECUTE up (1, 1); EXECUTE up (2, 2); EXECUTE up (3, 3); EXECUTE up (4, 4); EXECUTE up (5, 5); EXECUTE up (6, 6);
EXECUTE up (21, 1); EXECUTE up (22, 2); EXECUTE up (23, 3); EXECUTE up (24, 4); EXECUTE up (21, 5); EXECUTE up (22, 6);
\c - - - :n3
CREATE FUNCTION up_count(k bigint) RETURNS int LANGUAGE plpgsql AS $$
DECLARE r int;
BEGIN
    INSERT INTO up (id, n) VALUES (k, 1) ON CONFLICT (id) DO UPDATE SET n = up.n + 1 RETURNING n INTO r;
    RETURN r;
END $$;
SELECT up_count(g % 7 + 30) FROM generate_series(1, 20) g;
SELECT * FROM up ORDER BY id;
-- rights on both halves
CREATE ROLE up_user;
\if :sharded
\c - - - :n1
CREATE ROLE up_user;
\c - - - :n2
CREATE ROLE up_user;
\c - - - :n3
\endif
GRANT SELECT (id, v), UPDATE (v), INSERT (id, v) ON up TO up_user;
SET ROLE up_user;
\set VERBOSITY sqlstate
INSERT INTO up (id, v) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET v = 'b';
INSERT INTO up (id, v) VALUES (2, 'a') ON CONFLICT (id) DO UPDATE SET v = 'b';
INSERT INTO up (id, v) VALUES (3, 'a') ON CONFLICT (id) DO UPDATE SET n = 1;
INSERT INTO up (id, v) VALUES (4, 'a') ON CONFLICT (id) DO UPDATE SET v = up.n;
INSERT INTO up (id, v) VALUES (5, 'a') ON CONFLICT (id) DO NOTHING;
RESET ROLE;
INSERT INTO up (id, n) VALUES (1, 1) ON CONFLICT (v) DO NOTHING;
INSERT INTO up (id, n) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = 1 / (up.n - up.n);
\set VERBOSITY default
DROP FUNCTION up_count(bigint);
-- several rows for one value; triggers and policies of the table
CREATE TABLE up_item (id int, n int, v text DEFAULT 'none', PRIMARY KEY (id, n)) :by_id;
INSERT INTO up_item (n, id) SELECT n, g FROM generate_series(1, 12) g, generate_series(1, 2) n;
INSERT INTO up_item VALUES (1, 3, 'a'), (1, 1, 'b') ON CONFLICT (id, n) DO UPDATE SET v = up_item.v || excluded.v RETURNING *;
INSERT INTO up_item (n, id) VALUES (2, 2), (3, 2), (4, 2) ON CONFLICT (id, n) DO UPDATE SET v = 'twice' RETURNING *;
INSERT INTO up_item (n, id) VALUES (5, 3), (5, 3) ON CONFLICT DO NOTHING RETURNING *;
CREATE POLICY up_mine ON up_item USING (id = current_setting('app.id')::int);
CREATE POLICY up_small ON up_item AS RESTRICTIVE FOR UPDATE USING (n < 3);
ALTER TABLE up_item ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE ON up_item TO up_user;
SET ROLE up_user;
\set VERBOSITY sqlstate
SET app.id = 4;
INSERT INTO up_item VALUES (4, 7, 'p') ON CONFLICT DO NOTHING RETURNING *;
INSERT INTO up_item VALUES (5, 7, 'p') ON CONFLICT DO NOTHING;
RESET ROLE;
DROP POLICY up_small ON up_item;
SET ROLE up_user;
INSERT INTO up_item VALUES (4, 1, 'p') ON CONFLICT (id, n) DO UPDATE SET v = 'again' RETURNING *;
INSERT INTO up_item VALUES (4, 8, 'p') ON CONFLICT (id, n) DO UPDATE SET v = 'again' RETURNING *;
INSERT INTO up_item VALUES (5, 1, 'p') ON CONFLICT (id, n) DO UPDATE SET v = 'again';
SET app.id = 6;
INSERT INTO up_item VALUES (6, 2, 'q') ON CONFLICT (id, n) DO UPDATE SET v = excluded.v WHERE up_item.v = 'none' RETURNING *;
RESET ROLE;
\set VERBOSITY default
SELECT * FROM up_item WHERE v <> 'none' ORDER BY id, n;
ALTER TABLE up_item ADD COLUMN w int, ADD COLUMN x int DEFAULT 1;
ALTER TABLE up_item DROP COLUMN w;
INSERT INTO up_item (id, n) VALUES (7, 1) ON CONFLICT (id, n) DO UPDATE SET x = up_item.x + excluded.x + 1 RETURNING *;
INSERT INTO up_item (id, n) VALUES (8, 1) ON CONFLICT (id, n) DO UPDATE SET x = up_item.x + excluded.x + 1 WHERE excluded.x = 1 RETURNING *;
INSERT INTO up_item (id, n) VALUES (9, 9) ON CONFLICT (id, n) DO UPDATE SET x = up_item.x + excluded.x + 1 RETURNING *;
DROP TABLE up_item;
DROP TABLE up;
\if :sharded
\c - - - :n1
DROP ROLE up_user;
\c - - - :n2
DROP ROLE up_user;
\c - - - :n3
\endif
DROP ROLE up_user;
