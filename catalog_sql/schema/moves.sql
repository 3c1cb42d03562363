CREATE SCHEMA shardman_moving;
COMMENT ON SCHEMA shardman_moving IS 'copies of partitions that a move has not finished; made by shardman only';
GRANT USAGE ON SCHEMA shardman_moving TO PUBLIC;

-- The first columns are the same on every node, written in a distributed
-- transaction; the rest is the destination's affair.
CREATE TABLE shardman.move (
    group_id    bigint,
    pnum        integer,
    job_id      bigint NOT NULL,
    source      integer NOT NULL,
    destination integer NOT NULL,
    started     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    phase       text NOT NULL DEFAULT 'starting',
    bytes_total bigint,
    rows_total  bigint,
    rows_copied bigint,
    snapshot    text,
    is_indexed  boolean NOT NULL DEFAULT false,
    applied     pg_lsn,
    behind      bigint,
    PRIMARY KEY (group_id, pnum)
);
COMMENT ON TABLE shardman.move IS 'partitions of colocation groups that are on the move; their tables cannot be altered meanwhile';
COMMENT ON COLUMN shardman.move.snapshot IS 'on the destination: what the copy was read with; null before it is complete';
COMMENT ON COLUMN shardman.move.applied IS 'on the destination: every change before this position of the source is in the copy';
REVOKE ALL ON shardman.move FROM PUBLIC;
GRANT SELECT ON shardman.move TO PUBLIC;

CREATE FUNCTION shardman.move_work(work text) RETURNS text
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'move_work_wrapper';
COMMENT ON FUNCTION shardman.move_work(text) IS 'internal: the driver of a move has this node do a part of it';

CREATE FUNCTION shardman.move_part(part_name text, dest integer, src integer DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'move_part_wrapper';
COMMENT ON FUNCTION shardman.move_part(text, integer, integer) IS 'moves a partition, and those of the tables colocated with it, to another node while they are in use; returns the id of a job';

CREATE FUNCTION shardman.recreate_lost_partitions(rel regclass) RETURNS integer
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'recreate_lost_partitions_wrapper';
COMMENT ON FUNCTION shardman.recreate_lost_partitions(regclass) IS 'makes the partitions of a table, and of those colocated with it, that were lost with removed nodes anew, empty; returns how many partitions of the group there were';

CREATE FUNCTION shardman.rebalance(relation text DEFAULT NULL, by text DEFAULT 'count') RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rebalance_wrapper';
COMMENT ON FUNCTION shardman.rebalance(text, text) IS 'moves partitions of a table and those colocated with it, or of all tables, until nodes hold alike, by ''count'' of partitions or by ''size''; returns the id of a job';

CREATE FUNCTION shardman.rebalance_plan(relation text DEFAULT NULL, by text DEFAULT 'count')
    RETURNS TABLE (part_name text, source integer, destination integer, bytes bigint, reason text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rebalance_plan_wrapper';
COMMENT ON FUNCTION shardman.rebalance_plan(text, text) IS 'what shardman.rebalance would move, and why';

CREATE FUNCTION shardman.drain_node(id integer) RETURNS bigint
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'drain_node_wrapper';
COMMENT ON FUNCTION shardman.drain_node(integer) IS 'moves all partitions of a node to the others; returns the id of a job';

CREATE FUNCTION shardman.move_forward(slot text, applied text) RETURNS text
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'move_forward_wrapper';
COMMENT ON FUNCTION shardman.move_forward(text, text) IS 'internal: releases changes that a move''s destination has applied and returns up to where there are others';

-- Values are printed so that every session reads them alike.
CREATE FUNCTION shardman.move_changes(slot text, max_changes integer, OUT lsn text, OUT xid text, OUT data text)
    RETURNS SETOF record
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET extra_float_digits = 3
    -- Not a line in the log for each look at the changes; errors reach the destination's log.
    SET bytea_output = 'hex' SET log_min_messages = 'fatal'
    AS $$
        SELECT lsn::text, xid::text, data::text
        FROM pg_logical_slot_peek_binary_changes(slot, NULL, max_changes, 'proto_version', '1', 'publication_names', slot)
    $$;
COMMENT ON FUNCTION shardman.move_changes(text, integer) IS 'internal: changes that a move''s destination has not applied';

REVOKE ALL ON FUNCTION shardman.move_work(text), shardman.move_forward(text, text), shardman.move_changes(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION shardman.move_work(text) TO shardman_node;

-- What nodes tell each other.
CREATE FUNCTION shardman.local_part_sizes() RETURNS jsonb
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog
    AS $$
        SELECT coalesce(jsonb_agg(jsonb_build_array(s.group_id, s.pnum, s.bytes)), '[]')
        FROM (SELECT t.group_id, p.pnum, sum(pg_total_relation_size(c.oid))::bigint AS bytes
              FROM shardman.sharded_table AS t
                   JOIN shardman.placement AS p ON p.group_id = t.group_id
                   JOIN pg_inherits AS i ON i.inhparent = t.rel
                   JOIN pg_class AS c ON c.oid = i.inhrelid AND c.relkind = 'r' AND c.relname ~ ('_' || p.pnum || '$')
              WHERE p.node_id = shardman.my_id()
              GROUP BY t.group_id, p.pnum) AS s
    $$;
COMMENT ON FUNCTION shardman.local_part_sizes() IS 'internal: bytes of the partitions of each colocation group that are on this node';

CREATE FUNCTION shardman.local_moves() RETURNS jsonb
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog
    AS $$
        SELECT coalesce(jsonb_agg(to_jsonb(m)), '[]')
        FROM (SELECT m.job_id, m.group_id, m.pnum, m.source, m.destination, m.phase, m.started,
                     m.bytes_total, m.rows_total, m.behind,
                     c.names AS part_names, c.bytes AS bytes_copied,
                     coalesce(m.rows_copied, c.rows, 0) AS rows_copied
              FROM shardman.move AS m
                   CROSS JOIN LATERAL (
                       SELECT array_agg(k.relname ORDER BY t.table_id) AS names,
                              coalesce(sum(greatest(pg_table_size(k.oid), p.param1)), 0)::bigint AS bytes,
                              max(p.param3) AS rows
                       FROM shardman.sharded_table AS t
                            JOIN pg_inherits AS i ON i.inhparent = t.rel
                            JOIN pg_class AS l ON l.oid = i.inhrelid AND l.relname ~ ('_' || m.pnum || '$')
                            JOIN pg_class AS k ON k.relname = l.relname AND k.relnamespace = 'shardman_moving'::regnamespace
                            LEFT JOIN pg_stat_get_progress_info('COPY') AS p ON p.relid = k.oid
                       WHERE t.group_id = m.group_id) AS c
              WHERE m.destination = shardman.my_id()) AS m
    $$;
COMMENT ON FUNCTION shardman.local_moves() IS 'internal: moves to this node, as shardman.stat_progress_move shows them';

CREATE FUNCTION shardman.local_leftovers() RETURNS jsonb
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog
    AS $$
        WITH live AS (
            SELECT 'shardman_move_' || m.group_id || '_' || m.pnum AS name, m.group_id, m.pnum
            FROM shardman.move AS m JOIN shardman.cmd_log AS j ON j.id = m.job_id
            WHERE j.status IN ('waiting', 'in progress')),
        found AS (
            SELECT 'replication slot' AS kind, slot_name::text AS name,
                   format('holds back %s of WAL', pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn))) AS detail
            FROM pg_replication_slots
            WHERE starts_with(slot_name, 'shardman_move_') AND slot_name NOT IN (SELECT name FROM live)
            UNION ALL
            SELECT 'publication', pubname::text, ''
            FROM pg_publication
            WHERE starts_with(pubname, 'shardman_move_') AND pubname NOT IN (SELECT name FROM live)
            UNION ALL
            SELECT 'table', format('shardman_moving.%I', c.relname), pg_size_pretty(pg_table_size(c.oid))
            FROM pg_class AS c
            WHERE c.relnamespace = 'shardman_moving'::regnamespace AND c.relkind = 'r'
              AND NOT EXISTS (SELECT FROM live AS v JOIN shardman.sharded_table AS t ON t.group_id = v.group_id
                              WHERE c.relname ~ ('^shard_' || t.table_id || '_.*_' || v.pnum || '$'))
            UNION ALL
            SELECT 'move', format('partition %s of group %s', m.pnum, m.group_id), format('of job %s', m.job_id)
            FROM shardman.move AS m
            WHERE (m.group_id, m.pnum) NOT IN (SELECT v.group_id, v.pnum FROM live AS v)
            UNION ALL
            SELECT 'replica identity', format('shardman_data.%I', c.relname), ''
            FROM pg_class AS c
            WHERE c.relnamespace = 'shardman_data'::regnamespace AND c.relreplident = 'f'
              AND NOT EXISTS (SELECT FROM live AS v JOIN shardman.sharded_table AS t ON t.group_id = v.group_id
                              WHERE c.relname ~ ('^shard_' || t.table_id || '_.*_' || v.pnum || '$')))
        SELECT coalesce(jsonb_agg(to_jsonb(f)), '[]') FROM found AS f
    $$;
COMMENT ON FUNCTION shardman.local_leftovers() IS 'internal: this node''s part of shardman.leftovers()';

CREATE FUNCTION shardman.leftovers() RETURNS TABLE (node_id integer, kind text, name text, detail text)
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog
    AS $$
        SELECT n.node_id, f.kind, f.name, f.detail
        FROM shardman.on_all_nodes('leftovers') AS n
             CROSS JOIN LATERAL jsonb_to_recordset(n.answer) AS f(kind text, name text, detail text)
        ORDER BY 1, 2, 3
    $$;
COMMENT ON FUNCTION shardman.leftovers() IS 'what is on any node of moves that nobody works at any more: replication slots, publications, half-filled tables; empty unless something is wrong';

CREATE VIEW shardman.stat_progress_move AS
    SELECT m.job_id, m.part_names, m.source, m.destination, m.phase,
           m.bytes_copied, m.bytes_total, m.rows_copied, m.rows_total, m.behind AS lag_bytes, m.started,
           CASE WHEN m.phase = 'copying' AND m.bytes_copied > 0 AND m.bytes_total > m.bytes_copied
                THEN pg_catalog.clock_timestamp()
                     + (pg_catalog.clock_timestamp() - m.started)
                       * ((m.bytes_total - m.bytes_copied)::double precision / m.bytes_copied)
           END AS estimated_end
    FROM shardman.on_all_nodes('moves') AS n
         CROSS JOIN LATERAL pg_catalog.jsonb_to_recordset(n.answer) AS m(
             job_id bigint, part_names text[], source integer, destination integer, phase text,
             bytes_copied bigint, bytes_total bigint, rows_copied bigint, rows_total bigint, behind bigint,
             started timestamptz);
COMMENT ON VIEW shardman.stat_progress_move IS 'moves that are going on, on all nodes: a row for each, with the leaves that travel together';

REVOKE ALL ON FUNCTION
    shardman.move_part(text, integer, integer), shardman.recreate_lost_partitions(regclass), shardman.rebalance(text, text), shardman.drain_node(integer),
    shardman.rebalance_plan(text, text), shardman.local_part_sizes(), shardman.local_moves(), shardman.local_leftovers()
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION shardman.local_part_sizes(), shardman.local_moves(), shardman.local_leftovers() TO shardman_node;
GRANT SELECT ON shardman.stat_progress_move TO PUBLIC;
