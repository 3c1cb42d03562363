CREATE FUNCTION shardman.serve(node_id integer, pid integer, started bigint) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'serve_wrapper';
COMMENT ON FUNCTION shardman.serve(integer, integer, bigint) IS 'internal: a node''s backend says that this session works for it';

CREATE FUNCTION shardman.backend_places() RETURNS TABLE (
    pid integer, coordinates integer[], node_id integer, coordinator integer, started bigint)
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'backend_places_wrapper';
COMMENT ON FUNCTION shardman.backend_places() IS 'internal: backends in transactions, the nodes (modulo 256) that each has turned to, and for which backend of another node it works';

CREATE FUNCTION shardman.end_wait(pid integer, since bigint, detail text) RETURNS boolean
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'end_wait_wrapper';
COMMENT ON FUNCTION shardman.end_wait(integer, bigint, text) IS 'internal: a deadlock''s victim fails where it waits';

CREATE FUNCTION shardman.local_locks() RETURNS jsonb
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog
    AS $$
        WITH lock AS MATERIALIZED (SELECT * FROM pg_locks),
             activity AS MATERIALIZED (SELECT * FROM pg_stat_get_activity(NULL)),
             wait AS MATERIALIZED (
                SELECT l.*, coalesce(a.leader_pid, l.pid) AS waiter, pg_blocking_pids(l.pid) AS blockers
                FROM lock AS l LEFT JOIN activity AS a ON a.pid = l.pid
                WHERE NOT l.granted AND l.waitstart IS NOT NULL)
        SELECT jsonb_build_object(
            'node', shardman.my_id(),
            'processes', coalesce((
                SELECT jsonb_agg(jsonb_build_object(
                           'pid', l.pid,
                           'transaction', split_part(l.virtualtransaction, '/', 2)::bigint,
                           'started', coalesce((extract(epoch FROM a.xact_start) * 1000000)::bigint, 0),
                           'backend_started', coalesce((extract(epoch FROM a.backend_start) * 1000000)::bigint, 0),
                           'xid', a.backend_xid::text::bigint,
                           'coordinates', coalesce(s.coordinates, '{}'),
                           'serves', CASE WHEN s.node_id IS NOT NULL THEN jsonb_build_object(
                               'node', s.node_id, 'pid', s.coordinator, 'started', s.started) END))
                FROM lock AS l
                     LEFT JOIN activity AS a ON a.pid = l.pid
                     LEFT JOIN shardman.backend_places() AS s ON s.pid = l.pid
                WHERE l.locktype = 'virtualxid' AND l.virtualxid = l.virtualtransaction AND l.pid IS NOT NULL), '[]'),
            'waits', coalesce((
                SELECT jsonb_agg(jsonb_build_object(
                           'pid', w.waiter,
                           'since', (extract(epoch FROM w.waitstart) * 1000000)::bigint,
                           'mode', w.mode,
                           'object', CASE w.locktype
                               WHEN 'relation' THEN format('relation %s of database %s', w.relation, w.database)
                               WHEN 'extend' THEN format('extension of relation %s of database %s', w.relation, w.database)
                               WHEN 'page' THEN format('page %s of relation %s of database %s', w.page, w.relation, w.database)
                               WHEN 'tuple' THEN format('tuple (%s,%s) of relation %s of database %s', w.page, w.tuple, w.relation, w.database)
                               WHEN 'transactionid' THEN format('transaction %s', w.transactionid)
                               WHEN 'virtualxid' THEN format('virtual transaction %s', w.virtualxid)
                               WHEN 'object' THEN format('object %s of class %s of database %s', w.objid, w.classid, w.database)
                               WHEN 'advisory' THEN format('advisory lock [%s,%s,%s,%s]', w.database, w.classid, w.objid, w.objsubid)
                               ELSE w.locktype END,
                           -- Who waits for a row waits for a transaction, with the row's own lock in hand.
                           'relation', coalesce(w.relation, (
                               SELECT t.relation FROM lock AS t
                               WHERE t.pid = w.pid AND t.locktype = 'tuple' AND t.granted LIMIT 1))::regclass::text,
                           'blockers', array_remove(w.blockers, 0),
                           -- Prepared transactions are in no process; each has its own transaction id locked.
                           'prepared', CASE WHEN 0 = ANY (w.blockers) THEN coalesce((
                               SELECT jsonb_agg(DISTINCT p.gid)
                               FROM lock AS h
                                    JOIN lock AS own ON own.pid IS NULL AND own.locktype = 'transactionid' AND own.granted
                                                    AND own.virtualtransaction = h.virtualtransaction
                                    JOIN pg_prepared_xacts AS p ON p.transaction = own.transactionid
                               WHERE h.pid IS NULL AND h.granted AND h.locktype = w.locktype
                                 AND (h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid,
                                      h.classid, h.objid, h.objsubid)
                                     IS NOT DISTINCT FROM
                                     (w.database, w.relation, w.page, w.tuple, w.virtualxid, w.transactionid,
                                      w.classid, w.objid, w.objsubid)), '[]') ELSE '[]' END))
                FROM wait AS w), '[]'))
    $$;
COMMENT ON FUNCTION shardman.local_locks() IS 'internal: this node''s transactions and lock waits, as the deadlock detectors of all nodes read them';

CREATE FUNCTION shardman.all_lock_waits() RETURNS TABLE (
    waiter text, waiter_node integer, waiter_pid integer,
    blocker text, blocker_node integer, blocker_pid integer,
    node_id integer, pid integer, holder text, mode text, object text, relation text, since timestamptz)
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog
    AS 'MODULE_PATHNAME', 'all_lock_waits_wrapper';
COMMENT ON FUNCTION shardman.all_lock_waits() IS 'internal: what shardman.lock_graph shows';

CREATE FUNCTION shardman.local_transactions() RETURNS jsonb
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog
    AS $$
        WITH backend AS MATERIALIZED (
            SELECT b.pid, b.coordinates, b.node_id, b.coordinator, b.started AS coordinator_started,
                   a.usesysid, a.xact_start, a.state, a.backend_start, a.backend_xid
            FROM shardman.backend_places() AS b JOIN pg_stat_get_activity(NULL) AS a ON a.pid = b.pid)
        SELECT jsonb_build_object(
            'coordinators', coalesce((
                SELECT jsonb_agg(jsonb_build_object(
                           'pid', b.pid, 'backend_started', (extract(epoch FROM b.backend_start) * 1000000)::bigint,
                           'transaction', split_part(l.virtualtransaction, '/', 2), 'usename', pg_get_userbyid(b.usesysid),
                           'started', b.xact_start, 'state', b.state, 'xid', b.backend_xid::text::bigint,
                           'coordinates', b.coordinates))
                FROM backend AS b JOIN pg_locks AS l ON l.pid = b.pid AND l.virtualxid = l.virtualtransaction
                WHERE b.coordinates <> '{}'), '[]'),
            'participants', coalesce((
                SELECT jsonb_agg(jsonb_build_object(
                           'node_id', b.node_id, 'coordinator', b.coordinator, 'coordinator_started', b.coordinator_started))
                FROM backend AS b WHERE b.node_id IS NOT NULL), '[]'),
            'prepared', coalesce((
                SELECT jsonb_agg(gid) FROM pg_prepared_xacts
                WHERE database = current_database() AND starts_with(gid, 'sc_')), '[]'))
    $$;
COMMENT ON FUNCTION shardman.local_transactions() IS 'internal: this node''s part of shardman.dist_transactions';

CREATE FUNCTION shardman.local_transaction_counters() RETURNS jsonb
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'local_transaction_counters_wrapper';
COMMENT ON FUNCTION shardman.local_transaction_counters() IS 'internal: this node''s row of shardman.transaction_counters';

CREATE FUNCTION shardman.on_all_nodes(question text) RETURNS TABLE (node_id integer, answer jsonb)
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog
    AS 'MODULE_PATHNAME', 'on_all_nodes_wrapper';
COMMENT ON FUNCTION shardman.on_all_nodes(text) IS 'internal: asks every node for its transactions or counters';

REVOKE ALL ON FUNCTION
    shardman.serve(integer, integer, bigint), shardman.backend_places(),
    shardman.end_wait(integer, bigint, text), shardman.local_locks(), shardman.local_transactions(),
    shardman.local_transaction_counters()
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    shardman.serve(integer, integer, bigint), shardman.end_wait(integer, bigint, text), shardman.local_locks(),
    shardman.local_transactions(), shardman.local_transaction_counters()
    TO shardman_node;

CREATE VIEW shardman.lock_graph AS SELECT * FROM shardman.all_lock_waits();
COMMENT ON VIEW shardman.lock_graph IS 'who waits for whom, on all nodes: waiter and blocker are transactions, named by node, process and local transaction of their coordinators; node_id, pid and holder say where the lock is and which processes wait for it and hold it';

CREATE VIEW shardman.dist_transactions AS
    WITH answer AS MATERIALIZED (SELECT * FROM shardman.on_all_nodes('transactions'))
    SELECT pg_catalog.format('%s.%s.%s', a.node_id, c.pid, c.transaction) AS transaction,
           a.node_id AS coordinator, c.pid, c.usename, c.started,
           CASE WHEN g.gids IS NOT NULL THEN 'preparing' ELSE c.state END AS state,
           p.participants, g.gids
    FROM answer AS a
         CROSS JOIN LATERAL pg_catalog.jsonb_to_recordset(a.answer->'coordinators') AS c(
             pid integer, backend_started bigint, transaction bigint, usename name, started timestamptz, state text,
             xid bigint, coordinates integer[])
         CROSS JOIN LATERAL (
             SELECT pg_catalog.array_agg(DISTINCT o.node_id ORDER BY o.node_id) AS participants
             FROM answer AS o, pg_catalog.jsonb_to_recordset(o.answer->'participants') AS s(
                 node_id integer, coordinator integer, coordinator_started bigint)
             WHERE (s.node_id, s.coordinator, s.coordinator_started) = (a.node_id, c.pid, c.backend_started)
               AND o.node_id % 256 = ANY (c.coordinates)) AS p
         CROSS JOIN LATERAL (
             SELECT pg_catalog.array_agg(t.gid ORDER BY t.gid) AS gids
             FROM answer AS o, pg_catalog.jsonb_array_elements_text(o.answer->'prepared') AS t(gid)
             WHERE pg_catalog.split_part(t.gid, '_', 2) = a.node_id::text
               AND pg_catalog.split_part(t.gid, '_', 4)::numeric % 4294967296 = c.xid) AS g
    -- A session keeps its place while it is in any transaction; those of other nodes say who is in one now.
    WHERE p.participants IS NOT NULL OR g.gids IS NOT NULL;
COMMENT ON VIEW shardman.dist_transactions IS 'running transactions that use other nodes, of all nodes: coordinator and its process, user, start, state, the nodes that take part, and what is prepared';

CREATE VIEW shardman.transaction_counters AS
    SELECT n.node_id, c.one_phase, c.two_phase, c.aborted, c.recovered, c.deadlocks
    FROM shardman.on_all_nodes('counters') AS n
         CROSS JOIN LATERAL pg_catalog.jsonb_to_record(n.answer) AS c(
             one_phase bigint, two_phase bigint, aborted bigint, recovered bigint, deadlocks bigint);
COMMENT ON VIEW shardman.transaction_counters IS 'how transactions over several nodes have ended, by coordinator, since its server started: in one phase, in two, rolled back; participants that recovery finished; transactions that failed there to end a deadlock between nodes';

GRANT SELECT ON shardman.lock_graph, shardman.dist_transactions, shardman.transaction_counters TO PUBLIC;
