-- What an operator asks first.
CREATE FUNCTION shardman.local_health() RETURNS jsonb
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog
    AS $$
        SELECT jsonb_build_object(
            'raft', shardman.raft_status_json()::jsonb,
            'positions', (SELECT jsonb_object_agg(queue, applied_index) FROM shardman.log_position),
            'failures', (SELECT coalesce(jsonb_agg(format('entry %s: %s', log_position, message)), '[]') FROM shardman.ddl_failure),
            'digest', shardman.schema_digest(),
            'prepared', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                                    'gid', gid, 'age', extract(epoch FROM clock_timestamp() - prepared))), '[]')
                         FROM pg_prepared_xacts WHERE database = current_database() AND starts_with(gid, 'sc_')),
            'invalid', (SELECT coalesce(jsonb_agg(format('%I.%I', n.nspname, x.relname)), '[]')
                        FROM pg_index AS i
                             JOIN pg_class AS x ON x.oid = i.indexrelid
                             JOIN pg_namespace AS n ON n.oid = x.relnamespace
                        WHERE NOT (i.indisvalid AND i.indisready)
                          AND (n.nspname = 'shardman_data'
                               OR i.indrelid IN (SELECT rel FROM shardman.sharded_table
                                                 UNION ALL SELECT rel FROM shardman.replicated_table))),
            'settings', (SELECT jsonb_object_agg(name, setting) FROM pg_settings
                         WHERE name IN ('max_prepared_transactions', 'wal_level', 'shardman.database', 'shardman.node_timeout')),
            'versions', jsonb_build_object(
                'extension', (SELECT extversion FROM pg_extension WHERE extname = 'shardman'),
                'PostgreSQL', current_setting('server_version_num')::integer / 10000),
            'clock', extract(epoch FROM clock_timestamp()))
    $$;
COMMENT ON FUNCTION shardman.local_health() IS 'internal: what this node tells shardman.health() of itself';

CREATE FUNCTION shardman.health() RETURNS TABLE ("check" text, ok boolean, detail text)
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog
    AS $$
        WITH answer AS MATERIALIZED (SELECT node_id AS id, answer AS a FROM shardman.on_all_nodes('health')),
        job AS MATERIALIZED (SELECT * FROM shardman.cmd_log WHERE status IN ('waiting', 'in progress')),
        -- One row a trouble; a check without one is all right.
        trouble(name, detail) AS (
            SELECT 'nodes answer', format('node %s (%s) does not answer', n.id, n.name)
            FROM shardman.node AS n WHERE n.id NOT IN (SELECT id FROM answer)
            UNION ALL
            SELECT 'nodes are active', format('node %s (%s) is %s', n.id, n.name, n.state)
            FROM shardman.node AS n WHERE n.state <> 'active'
            UNION ALL
            SELECT 'metadata log has a leader', format('node %s: %s', id, coalesce(a->'raft'->>'reason', 'knows no leader'))
            FROM answer WHERE a->'raft'->>'leader' IS NULL OR a->'raft'->>'state' IN ('stopped', 'barred')
            UNION ALL
            SELECT 'metadata log has a leader', format('node %s leads and has not heard from a majority for %s ms', id,
                                                       a->'raft'->>'millis_since_quorum_ack')
            FROM answer
            WHERE a->'raft'->>'state' = 'leader' AND (a->'raft'->>'millis_since_quorum_ack')::bigint > 3000
            UNION ALL
            SELECT 'metadata log is applied', format('node %s is at %s of %s', id, a->'positions'->>'nodes', m.last)
            FROM answer, (SELECT max((a->'raft'->>'applied_index')::bigint) AS last FROM answer) AS m
            -- An entry takes a moment, and those of row logs are told about now and then.
            WHERE (a->'raft'->>'applied_index')::bigint < m.last - 900 OR (a->'positions'->>'nodes')::bigint < m.last - 900
            UNION ALL
            SELECT 'schema changes are applied', format('node %s stands at %s', id, f)
            FROM answer, jsonb_array_elements_text(a->'failures') AS f
            UNION ALL
            SELECT 'schema is the same', format('nodes %s have digest %s', string_agg(id::text, ', ' ORDER BY id), left(a->>'digest', 8))
            FROM answer GROUP BY a->>'digest' HAVING (SELECT count(DISTINCT a->>'digest') FROM answer) > 1
            UNION ALL
            SELECT 'no old prepared transactions', format('node %s: "%s" for %s s', id, p.gid, round(p.age))
            FROM answer, jsonb_to_recordset(a->'prepared') AS p(gid text, age numeric) WHERE p.age > 15
            UNION ALL
            SELECT 'indexes are valid', format('node %s: %s', id, i)
            FROM answer, jsonb_array_elements_text(a->'invalid') AS i
            -- While one is built it is not valid yet.
            WHERE NOT EXISTS (SELECT FROM job WHERE cmd_type IN ('create_index', 'reindex'))
            UNION ALL
            SELECT 'nothing is left over', format('node %s: %s %s %s', node_id, kind, name, l.detail)
            FROM shardman.leftovers() AS l
            UNION ALL
            SELECT 'partitions have a node', format('%s of %s are lost: node %s was removed', count(*), rel, node_id)
            FROM shardman.parts WHERE node_id NOT IN (SELECT id FROM shardman.node) GROUP BY rel, node_id
            UNION ALL
            SELECT 'settings fit', format('node %s cannot prepare transactions: max_prepared_transactions is 0', id)
            FROM answer WHERE a->'settings'->>'max_prepared_transactions' = '0'
            UNION ALL
            SELECT 'settings fit', format('%s differs: %s', s.key, string_agg(format('%s on node %s', s.value, id), ', ' ORDER BY id))
            FROM answer, jsonb_each_text(a->'settings') AS s GROUP BY s.key HAVING count(DISTINCT s.value) > 1
            UNION ALL
            SELECT 'versions are the same', format('%s: %s', v.key, string_agg(format('%s on node %s', v.value, id), ', ' ORDER BY id))
            FROM answer, jsonb_each_text(a->'versions') AS v GROUP BY v.key HAVING count(DISTINCT v.value) > 1
            UNION ALL
            SELECT 'clocks agree', format('they are %s s apart', round(max((a->>'clock')::numeric) - min((a->>'clock')::numeric)))
            FROM answer HAVING max((a->>'clock')::numeric) - min((a->>'clock')::numeric) > 5
            UNION ALL
            SELECT 'jobs go on', format('job %s: %s', id, message) FROM job WHERE message <> ''),
        checks AS (
            SELECT * FROM unnest(ARRAY[
                'nodes answer', 'nodes are active', 'metadata log has a leader', 'metadata log is applied',
                'schema changes are applied', 'schema is the same', 'no old prepared transactions', 'indexes are valid',
                'nothing is left over', 'partitions have a node', 'settings fit', 'versions are the same', 'clocks agree',
                'jobs go on']) WITH ORDINALITY AS c(name, position))
        SELECT c.name, count(t.name) = 0, coalesce(string_agg(t.detail, '; ' ORDER BY t.detail), '')
        FROM checks AS c LEFT JOIN trouble AS t ON t.name = c.name
        GROUP BY c.position, c.name ORDER BY c.position
    $$;
COMMENT ON FUNCTION shardman.health() IS 'what may be wrong with the cluster, a row a check: whether all is well, and what is not';

REVOKE ALL ON FUNCTION shardman.local_health(), shardman.health() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION shardman.local_health() TO shardman_node;
GRANT EXECUTE ON FUNCTION shardman.health() TO pg_monitor;
