-- Prepared statements: custom and generic plans, other nodes, changed tables.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
\getenv sharded SHARDED
\if :sharded
\set by_id 'WITH (distributed_by = ''id'', num_parts = 6)'
\else
\set by_id ''
\endif
CREATE TABLE prep_t (id int PRIMARY KEY, k text, n numeric) :by_id;
PREPARE ins (int, text, numeric) AS INSERT INTO prep_t VALUES ($1, $2, $3) RETURNING id;
EXECUTE ins (1, 'a', 1.5);
EXECUTE ins (2, 'b', NULL);
EXECUTE ins (3, NULL, 'NaN');
EXECUTE ins (4, 'd', 4);
EXECUTE ins (5, 'e', 5);
EXECUTE ins (6, 'f', 6);
EXECUTE ins (7, 'g', 7);
\connect - - - :n2
PREPARE sel (int) AS SELECT * FROM prep_t WHERE id = $1;
-- more often than a custom plan is tried
EXECUTE sel (1);
EXECUTE sel (2);
EXECUTE sel (3);
EXECUTE sel (4);
EXECUTE sel (5);
EXECUTE sel (6);
EXECUTE sel (7);
EXECUTE sel (NULL);
SET plan_cache_mode = force_generic_plan;
EXECUTE sel (1);
EXECUTE sel (7);
EXECUTE sel (8);
PREPARE rng (int, text) AS SELECT count(*), sum(n) FROM prep_t WHERE id >= $1 AND coalesce(k, '-') <> $2;
EXECUTE rng (4, 'e');
EXECUTE rng (6, '');
PREPARE page (bigint, bigint) AS SELECT id FROM prep_t ORDER BY id LIMIT $1 OFFSET $2;
EXECUTE page (3, 0);
EXECUTE page (2, 1);
EXECUTE page (0, 1);
EXECUTE page (NULL, 5);
EXECUTE page (2, NULL);
EXECUTE page (9223372036854775807, 9223372036854775807);
EXECUTE page (9223372036854775807, 5);
EXECUTE page (-1, 3);
EXECUTE page (1, -1);
PREPARE few (int) AS SELECT count(*) FROM (SELECT id FROM prep_t LIMIT $1) s;
EXECUTE few (4);
EXECUTE few (NULL);
PREPARE upd (text, int) AS UPDATE prep_t SET k = $1 || '!' WHERE id = $2 RETURNING k;
EXECUTE upd ('x', 1);
EXECUTE upd (NULL, 2);
EXECUTE upd ('x', 99);
PREPARE del (int[]) AS DELETE FROM prep_t WHERE id = ANY ($1);
EXECUTE del ('{6,7,8}');
SET plan_cache_mode = force_custom_plan;
EXECUTE rng (1, '');
RESET plan_cache_mode;

-- the plan follows the table
CREATE INDEX prep_k ON prep_t (k);
EXECUTE sel (1);
DROP INDEX prep_k;
EXECUTE sel (1);
DEALLOCATE sel;
\connect - - - :n3
SELECT * FROM prep_t ORDER BY id;
PREPARE after_drop AS SELECT count(*) FROM prep_t;
EXECUTE after_drop;
DROP TABLE prep_t;
\set VERBOSITY sqlstate
EXECUTE after_drop;
