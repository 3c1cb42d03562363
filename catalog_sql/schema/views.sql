CREATE VIEW shardman.nodes AS
    SELECT n.id, n.name, n.connstr, n.system_identifier, n.state,
           CASE WHEN n.id = s.leader THEN 'leader'
                WHEN n.id = ANY (s.voters) THEN 'voter'
                WHEN n.id = ANY (s.learners) THEN 'learner'
           END AS raft_role
    FROM shardman.node AS n, shardman.local_raft_status() AS s;
COMMENT ON VIEW shardman.nodes IS 'members of the cluster; raft_role as this node sees it';

CREATE VIEW shardman.raft_status AS
    SELECT * FROM shardman.local_raft_status();
COMMENT ON VIEW shardman.raft_status IS 'the metadata log as this node sees it';

CREATE VIEW shardman.sharded_tables AS
    SELECT t.rel::regclass AS rel, t.num_parts AS nparts,
           CASE WHEN root.rel <> t.rel THEN root.rel::regclass END AS colocated_with,
           c.relname, n.nspname, t.distribution_columns
    FROM shardman.sharded_table AS t
         JOIN pg_catalog.pg_class AS c ON c.oid = t.rel
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         LEFT JOIN LATERAL (
             SELECT o.rel FROM shardman.sharded_table AS o
             WHERE o.group_id = t.group_id ORDER BY o.table_id LIMIT 1) AS root ON true;
COMMENT ON VIEW shardman.sharded_tables IS 'sharded tables; colocated_with is the oldest table of the colocation group, null for that table itself';

CREATE VIEW shardman.parts AS
    SELECT t.rel::regclass AS rel, p.pnum, p.node_id,
           l.relname AS part_name
    FROM shardman.sharded_table AS t
         JOIN shardman.placement AS p ON p.group_id = t.group_id
         LEFT JOIN LATERAL (
             SELECT c.relname
             FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
             WHERE i.inhparent = t.rel AND c.relname ~ ('_' || p.pnum || '$')) AS l ON true;
COMMENT ON VIEW shardman.parts IS 'the shard map: which node holds which partition';

CREATE VIEW shardman.lost_parts AS
    SELECT p.rel, p.pnum, p.node_id, p.part_name
    FROM shardman.parts AS p WHERE p.node_id NOT IN (SELECT n.id FROM shardman.node AS n);
COMMENT ON VIEW shardman.lost_parts IS 'partitions whose node was removed by force: their rows are gone; shardman.recreate_lost_partitions(table) makes them anew';

CREATE VIEW shardman.in_doubt AS
    SELECT p.gid, f.field[2]::integer AS coordinator,
           pg_catalog.string_to_array(nullif(f.field[6], ''), '.')::integer[] AS participants,
           p.prepared, pg_catalog.clock_timestamp() - p.prepared AS age,
           coalesce(k.known, 'its coordinator is at it') AS known
    FROM pg_catalog.pg_prepared_xacts AS p
         CROSS JOIN LATERAL (SELECT pg_catalog.string_to_array(p.gid, '_')) AS f(field)
         LEFT JOIN shardman.in_doubt_note AS k ON k.gid = p.gid
    WHERE p.database = pg_catalog.current_database() AND p.gid ~ '^sc_\d+_\d+_\d+_\d+_[\d.]*$';
COMMENT ON VIEW shardman.in_doubt IS 'parts of distributed transactions that are prepared on this node, and what this node knows of their fate';

CREATE VIEW shardman.users AS
    SELECT r.oid::regrole AS role, r.rolname, r.rolcanlogin, r.rolsuper
    FROM pg_catalog.pg_roles AS r JOIN pg_catalog.pg_auth_members AS m ON m.member = r.oid
    WHERE m.roleid = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = 'global');
COMMENT ON VIEW shardman.users IS 'managed roles: those that are members of the role global, the same on every node';

GRANT SELECT ON shardman.in_doubt, shardman.nodes, shardman.raft_status, shardman.sharded_tables, shardman.parts, shardman.lost_parts,
    shardman.users TO PUBLIC;

CREATE TYPE shardman.get_partition_for_value_type AS (
    rgid integer, local_nspname text, local_relname text, remote_nspname text, remote_relname text);
COMMENT ON TYPE shardman.get_partition_for_value_type IS 'where a key belongs: the node, the relation that is the partition on this node, and the table on that node if it is another one';

CREATE FUNCTION shardman.get_partition_for_value(relid regclass, VARIADIC vals "any")
    RETURNS shardman.get_partition_for_value_type
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'get_partition_for_value_wrapper';
COMMENT ON FUNCTION shardman.get_partition_for_value(regclass, "any") IS 'which partition and node the values of a sharded table''s distribution columns belong to; null for a table that is not sharded';
