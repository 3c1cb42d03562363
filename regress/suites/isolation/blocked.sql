-- Which session waits for another one, over all nodes: the isolation tester asks
-- node 1 about process ids of any node (all servers are on one host, so that they
-- differ). A session waits if its transaction waits for a lock on any node.
-- A new function in the old one's place: the server knows built-in ones by OID.
ALTER FUNCTION pg_catalog.pg_isolation_test_session_is_blocked(integer, integer[])
    RENAME TO pg_isolation_test_session_is_blocked_here;
CREATE FUNCTION pg_catalog.pg_isolation_test_session_is_blocked(integer, integer[])
    RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM shardman.lock_graph WHERE waiter_pid = $1)
$$;
