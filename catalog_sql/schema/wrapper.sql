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
