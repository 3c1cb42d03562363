-- Logs: tables whose changes are carried by the metadata log.

CREATE FUNCTION shardman.add_log(name text) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'add_log_wrapper';
COMMENT ON FUNCTION shardman.add_log(text) IS 'makes a log, which can carry the changes of tables: CREATE TABLE … WITH (replicated, log = ''name'')';

CREATE FUNCTION shardman.remove_log(name text) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'remove_log_wrapper';
COMMENT ON FUNCTION shardman.remove_log(text) IS 'removes a log that no table uses';

REVOKE ALL ON FUNCTION shardman.add_log(text), shardman.remove_log(text) FROM PUBLIC;

CREATE FUNCTION shardman.replicate_table(log text, rel regclass) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'replicate_table_in_log_wrapper';
COMMENT ON FUNCTION shardman.replicate_table(text, regclass) IS 'turns a local table into a replicated one whose changes are carried by a log';

CREATE FUNCTION shardman.read_log(name text, "position" bigint) RETURNS jsonb
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'read_log_wrapper';
COMMENT ON FUNCTION shardman.read_log(text, bigint) IS 'one entry of a log: whose it is, how it stands and which tables it changes; NULL if there is none, or none any more';

CREATE FUNCTION shardman.log_states() RETURNS jsonb
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'log_states_wrapper';
COMMENT ON FUNCTION shardman.log_states() IS 'internal: what shardman.logs shows';

CREATE FUNCTION shardman.local_log_position(log_id integer) RETURNS bigint
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'local_log_position_wrapper';
COMMENT ON FUNCTION shardman.local_log_position(integer) IS 'internal: how far this node has applied a log, as the statement''s snapshot sees it';

CREATE VIEW shardman.logs AS
    SELECT l.name, l.last_position, l.applied, l.last_error, l.log_id
    FROM jsonb_to_recordset(shardman.log_states()) AS l(
        name text, last_position bigint, applied jsonb, last_error text, log_id integer);
COMMENT ON VIEW shardman.logs IS 'the logs of the cluster: the last entry as far as this node knows, what each node has applied (others tell about once a second), and why a node does not go on';
GRANT SELECT ON shardman.logs TO PUBLIC;
