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

REVOKE ALL ON FUNCTION
    shardman.serve(integer, integer, bigint), shardman.backend_places(),
    shardman.end_wait(integer, bigint, text), shardman.local_locks()
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    shardman.serve(integer, integer, bigint), shardman.end_wait(integer, bigint, text), shardman.local_locks()
    TO shardman_node;

CREATE VIEW shardman.lock_graph AS SELECT * FROM shardman.all_lock_waits();
COMMENT ON VIEW shardman.lock_graph IS 'who waits for whom, on all nodes: waiter and blocker are transactions, named by node, process and local transaction of their coordinators; node_id, pid and holder say where the lock is and which processes wait for it and hold it';
GRANT SELECT ON shardman.lock_graph TO PUBLIC;
