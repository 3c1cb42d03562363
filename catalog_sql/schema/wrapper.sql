CREATE FUNCTION shardman.fdw_handler() RETURNS fdw_handler
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'fdw_handler_wrapper';
COMMENT ON FUNCTION shardman.fdw_handler() IS 'callbacks of shardman_fdw';

CREATE FUNCTION shardman.fdw_validator(options text[], catalog oid) RETURNS void
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'fdw_validator_wrapper';
COMMENT ON FUNCTION shardman.fdw_validator(text[], oid) IS 'checks the options of servers, user mappings, foreign tables and columns';

CREATE FOREIGN DATA WRAPPER shardman_fdw HANDLER shardman.fdw_handler VALIDATOR shardman.fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER shardman_fdw IS 'tables on other PostgreSQL servers';

CREATE SERVER shardman FOREIGN DATA WRAPPER shardman_fdw;
COMMENT ON SERVER shardman IS 'the one server of all foreign leaves; a leaf''s node is found in the shard map';
-- Harmless: the wrapper serves only registered leaves under this server.
GRANT USAGE ON FOREIGN SERVER shardman TO PUBLIC;

CREATE FUNCTION shardman.wrapper_options(
    OUT option text, OUT command text, OUT takes text, OUT default_value text, OUT effect text)
    RETURNS SETOF record
    LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'wrapper_options_wrapper';
COMMENT ON FUNCTION shardman.wrapper_options() IS 'what may stand in OPTIONS of servers, user mappings, foreign tables and columns of shardman_fdw';

CREATE FUNCTION shardman.connections(
    OUT server_name text, OUT node_id integer, OUT valid boolean, OUT in_transaction boolean)
    RETURNS SETOF record
    LANGUAGE c STRICT VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'connections_wrapper';
COMMENT ON FUNCTION shardman.connections() IS 'the sessions with nodes and servers that this session has open; one that is not valid is opened anew when it is needed';

CREATE FUNCTION shardman.disconnect(server_name text) RETURNS boolean
    LANGUAGE c STRICT VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'disconnect_wrapper';
COMMENT ON FUNCTION shardman.disconnect(text) IS 'closes this session''s sessions with a node or server unless they are in use; returns whether one was closed';

CREATE FUNCTION shardman.disconnect_all() RETURNS boolean
    LANGUAGE c STRICT VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'disconnect_all_wrapper';
COMMENT ON FUNCTION shardman.disconnect_all() IS 'the same for all nodes and servers';
