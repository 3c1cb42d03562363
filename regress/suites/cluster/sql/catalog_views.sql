-- The catalog views tell one story on every node.
\getenv n1 N1
\getenv n2 N2
\getenv n3 N3
CREATE TABLE catalog_t (id int PRIMARY KEY, v text) WITH (distributed_by = 'id', num_parts = 6);
CREATE TABLE catalog_c (id int PRIMARY KEY) WITH (distributed_by = 'id', colocate_with = 'catalog_t');
\connect - - - :n2
SELECT count(*), count(DISTINCT id), bool_and(state = 'active') FROM shardman.nodes;
SELECT count(*) FROM shardman.nodes WHERE raft_role = 'leader';
SELECT rel, nparts, colocated_with, relname, nspname, distribution_columns FROM shardman.sharded_tables WHERE relname ~ '^catalog_' ORDER BY relname;
SELECT node_id, count(*) FROM shardman.parts WHERE rel = 'catalog_t'::regclass GROUP BY node_id ORDER BY node_id;
\connect - - - :n3
SELECT count(*) FROM shardman.parts a JOIN shardman.parts b USING (pnum, node_id)
  WHERE a.rel = 'catalog_t'::regclass AND b.rel = 'catalog_c'::regclass;
SELECT (SELECT leader FROM shardman.raft_status) = (SELECT id FROM shardman.nodes WHERE raft_role = 'leader') AS leader_is_known;
DROP TABLE catalog_c;
DROP TABLE catalog_t;
\connect - - - :n1
SELECT count(*) FROM shardman.parts;
