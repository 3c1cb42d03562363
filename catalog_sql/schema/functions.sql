CREATE FUNCTION shardman.create_cluster(connstr text) RETURNS integer
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'create_cluster_wrapper';
COMMENT ON FUNCTION shardman.create_cluster(text) IS 'makes this server the first node of a new cluster; connstr is how other nodes reach it; returns the node id';

CREATE FUNCTION shardman.add_node(connstr text, rebalance boolean DEFAULT false) RETURNS integer
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'add_node_wrapper';
COMMENT ON FUNCTION shardman.add_node(text, boolean) IS 'brings the server reached by connstr (as a superuser there) into this cluster, waits until it is active and returns its node id; with rebalance, begins to move partitions to it';

CREATE FUNCTION shardman.join_cluster(member_connstr text, own_connstr text) RETURNS integer
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'join_cluster_wrapper';
COMMENT ON FUNCTION shardman.join_cluster(text, text) IS 'brings this server into the cluster of the member reached by member_connstr; returns the node id';

CREATE FUNCTION shardman.my_id() RETURNS integer
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'my_id_wrapper';
COMMENT ON FUNCTION shardman.my_id() IS 'this node''s id; null outside a cluster';

CREATE FUNCTION shardman.local_raft_status(
    OUT node_id integer, OUT state text, OUT term bigint, OUT leader integer,
    OUT last_log_index bigint, OUT applied_index bigint, OUT voters integer[], OUT learners integer[],
    OUT reason text, OUT queues jsonb, OUT lag jsonb)
    RETURNS record
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog
    AS $$
        SELECT (s->>'node_id')::integer, s->>'state', (s->>'term')::bigint, (s->>'leader')::integer,
               (s->>'last_log_index')::bigint, (s->>'applied_index')::bigint,
               ARRAY(SELECT v::integer FROM jsonb_array_elements_text(s->'voters') AS v),
               ARRAY(SELECT v::integer FROM jsonb_array_elements_text(s->'learners') AS v),
               s->>'reason',
               (SELECT jsonb_object_agg(queue, p.applied_index) FROM shardman.log_position AS p),
               (SELECT jsonb_object_agg(m->>'node', (s->>'last_log_index')::bigint - (m->>'index')::bigint)
                FROM jsonb_array_elements(s->'matched') AS m)
        FROM (SELECT shardman.raft_status_json()::jsonb) AS t(s)
    $$;
COMMENT ON FUNCTION shardman.local_raft_status() IS 'what this node''s worker says of the metadata log';

CREATE FUNCTION shardman.raft_status_json() RETURNS text
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'raft_status_json_wrapper';
COMMENT ON FUNCTION shardman.raft_status_json() IS 'the same as a JSON object, with the lag of each node on the leader';

CREATE FUNCTION shardman.recover_xacts() RETURNS bigint
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'recover_xacts_wrapper';
COMMENT ON FUNCTION shardman.recover_xacts() IS 'finishes what a crash left prepared, as the recovery worker does every two seconds: on other nodes what this node coordinated, here what nobody else can finish; returns how many parts';

CREATE FUNCTION shardman.resolve_in_doubt(gid text, decision text) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'resolve_in_doubt_wrapper';
COMMENT ON FUNCTION shardman.resolve_in_doubt(text, text) IS 'finishes a transaction that is prepared on this node and whose coordinator is lost, by ''commit'' or ''abort''; refused if a node knows better; the other participants follow';

CREATE FUNCTION shardman.broadcast_all_sql(statement text) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'broadcast_all_sql_wrapper';
COMMENT ON FUNCTION shardman.broadcast_all_sql(text) IS 'runs a statement on every node, as the user who asks and in the user''s transaction';

CREATE FUNCTION shardman.broadcast_sql(statement text) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'broadcast_sql_wrapper';
COMMENT ON FUNCTION shardman.broadcast_sql(text) IS 'the same on every node but this one';

CREATE FUNCTION shardman.broadcast_query(statement text, include_rgid boolean DEFAULT false) RETURNS SETOF record
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'broadcast_query_wrapper';
COMMENT ON FUNCTION shardman.broadcast_query(text, boolean) IS 'runs a query on every node and returns all rows, by include_rgid with the node''s id first';

CREATE FUNCTION shardman.query_rows(statement text) RETURNS SETOF text
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'query_rows_wrapper';
COMMENT ON FUNCTION shardman.query_rows(text) IS 'internal: runs a statement as the user who asks and returns its rows as JSON arrays of texts';

CREATE FUNCTION shardman.global_analyze() RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'global_analyze_wrapper';
COMMENT ON FUNCTION shardman.global_analyze() IS 'ANALYZE of all sharded tables of the user who asks, on every node: its own partitions, and samples of the others';

-- Between nodes.
CREATE FUNCTION shardman.raft_rpc(frame bytea) RETURNS bytea
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'raft_rpc_wrapper';
COMMENT ON FUNCTION shardman.raft_rpc(bytea) IS 'internal: hands a Raft message of another node to this node''s worker';

CREATE FUNCTION shardman.check_member(cluster_id text, node_id integer, system_identifier bigint) RETURNS integer
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'check_member_wrapper';
COMMENT ON FUNCTION shardman.check_member(text, integer, bigint) IS 'internal: raises unless this server is that node of that cluster';

CREATE FUNCTION shardman.transaction_outcome(gid text) RETURNS text
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'transaction_outcome_wrapper';
COMMENT ON FUNCTION shardman.transaction_outcome(text) IS 'internal: what this node knows of a distributed transaction: committed, aborted (then it promises that this will not change), prepared or unknown';

CREATE FUNCTION shardman.claim_schema_change(token bigint, log_position bigint) RETURNS boolean
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'claim_schema_change_wrapper';
COMMENT ON FUNCTION shardman.claim_schema_change(bigint, bigint) IS 'internal: notes that the running transaction does a schema change of the metadata log; false if it is done';

CREATE FUNCTION shardman.schema_log() RETURNS jsonb
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'schema_log_wrapper';
COMMENT ON FUNCTION shardman.schema_log() IS 'how schema changes stand in the metadata log as this node knows it: who holds the right to make one, the last one, how far each member is';

CREATE FUNCTION shardman.describe_server() RETURNS text
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'describe_server_wrapper';
COMMENT ON FUNCTION shardman.describe_server() IS 'internal: what a member checks before it admits this server, as JSON';

CREATE FUNCTION shardman.adopt(identity text) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'adopt_wrapper';
COMMENT ON FUNCTION shardman.adopt(text) IS 'internal: a member gives this server its identity in the cluster';

CREATE FUNCTION shardman.current_command() RETURNS integer
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'current_command_wrapper';
COMMENT ON FUNCTION shardman.current_command() IS 'internal: the number of this command in its transaction, with which another node''s INSERT begins';

CREATE FUNCTION shardman.is_first_change(xmin xid, cmin cid, beginning integer) RETURNS boolean
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'is_first_change_wrapper';
COMMENT ON FUNCTION shardman.is_first_change(xid, cid, integer) IS 'internal: raises if a row that ON CONFLICT DO UPDATE is about to change comes from the same statement of another node';

CREATE FUNCTION shardman.partial_state("any") RETURNS bytea
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'partial_state_wrapper';
COMMENT ON FUNCTION shardman.partial_state("any") IS 'internal: around an aggregate of a statement from another node, asks for its transition state';

REVOKE ALL ON FUNCTION
    shardman.recover_xacts(), shardman.resolve_in_doubt(text, text), shardman.transaction_outcome(text),
    shardman.create_cluster(text), shardman.add_node(text, boolean), shardman.join_cluster(text, text),
    shardman.raft_rpc(bytea), shardman.check_member(text, integer, bigint), shardman.describe_server(),
    shardman.claim_schema_change(bigint, bigint), shardman.schema_log(),
    shardman.adopt(text)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION shardman.claim_schema_change(bigint, bigint), shardman.transaction_outcome(text), shardman.raft_rpc(bytea), shardman.check_member(text, integer, bigint) TO shardman_node;
