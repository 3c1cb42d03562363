-- Which session waits for another one, over all nodes: the isolation tester asks
-- node 1 about process ids of any node (all servers are on one host, so that they
-- differ). A session waits if it waits for a lock on its own node, or if it waits
-- for another node while a session there waits for a lock.
CREATE SERVER w1 FOREIGN DATA WRAPPER shardman_fdw OPTIONS (host '127.0.0.1', port ':N1', dbname 'postgres');
CREATE SERVER w2 FOREIGN DATA WRAPPER shardman_fdw OPTIONS (host '127.0.0.1', port ':N2', dbname 'postgres');
CREATE SERVER w3 FOREIGN DATA WRAPPER shardman_fdw OPTIONS (host '127.0.0.1', port ':N3', dbname 'postgres');
CREATE USER MAPPING FOR CURRENT_USER SERVER w1;
CREATE USER MAPPING FOR CURRENT_USER SERVER w2;
CREATE USER MAPPING FOR CURRENT_USER SERVER w3;
CREATE SCHEMA watch;
CREATE FOREIGN TABLE watch.activity1 (pid int, usename name, state text, wait_event_type text)
    SERVER w1 OPTIONS (schema_name 'pg_catalog', table_name 'pg_stat_activity');
CREATE FOREIGN TABLE watch.locks1 (pid int, granted boolean)
    SERVER w1 OPTIONS (schema_name 'pg_catalog', table_name 'pg_locks');
CREATE FOREIGN TABLE watch.activity2 (pid int, usename name, state text, wait_event_type text)
    SERVER w2 OPTIONS (schema_name 'pg_catalog', table_name 'pg_stat_activity');
CREATE FOREIGN TABLE watch.locks2 (pid int, granted boolean)
    SERVER w2 OPTIONS (schema_name 'pg_catalog', table_name 'pg_locks');
CREATE FOREIGN TABLE watch.activity3 (pid int, usename name, state text, wait_event_type text)
    SERVER w3 OPTIONS (schema_name 'pg_catalog', table_name 'pg_stat_activity');
CREATE FOREIGN TABLE watch.locks3 (pid int, granted boolean)
    SERVER w3 OPTIONS (schema_name 'pg_catalog', table_name 'pg_locks');
CREATE VIEW watch.activity AS
    TABLE watch.activity1 UNION ALL TABLE watch.activity2 UNION ALL TABLE watch.activity3;
-- A lock is granted by who releases it, before who waits for it wakes up.
CREATE VIEW watch.waits AS
    SELECT pid FROM (TABLE watch.locks1 UNION ALL TABLE watch.locks2 UNION ALL TABLE watch.locks3) AS l
    WHERE NOT granted;
-- A new function in the old one's place: the server knows built-in ones by OID.
ALTER FUNCTION pg_catalog.pg_isolation_test_session_is_blocked(integer, integer[])
    RENAME TO pg_isolation_test_session_is_blocked_here;
CREATE FUNCTION pg_catalog.pg_isolation_test_session_is_blocked(integer, integer[])
    RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT $1 IN (SELECT pid FROM watch.waits)
        OR EXISTS (SELECT FROM watch.activity
                   WHERE pid = $1 AND state = 'active' AND wait_event_type = 'Extension')
           AND EXISTS (SELECT FROM watch.activity JOIN watch.waits USING (pid)
                       WHERE usename = 'shardman_node')
$$;
