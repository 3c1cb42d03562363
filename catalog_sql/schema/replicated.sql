-- Replicated tables: the same rows on every node, kept equal by triggers.

CREATE FUNCTION shardman.lock_replicated_table() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lock_replicated_table_wrapper';
COMMENT ON FUNCTION shardman.lock_replicated_table() IS 'internal: before a statement writes a replicated table, takes its writer lock on its home node';

CREATE FUNCTION shardman.replicate_changes() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'replicate_changes_wrapper';
COMMENT ON FUNCTION shardman.replicate_changes() IS 'internal: after a statement wrote a replicated table, has the other nodes do the same to their copies';

CREATE FUNCTION shardman.lock_writers(coordinator integer, tables text) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'lock_writers_wrapper';
COMMENT ON FUNCTION shardman.lock_writers(integer, text) IS 'internal: takes writer locks of replicated tables of which this node is the home';

CREATE FUNCTION shardman.apply_changes(coordinator integer, epoch bigint, table_id bigint, changes bytea) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'apply_changes_wrapper';
COMMENT ON FUNCTION shardman.apply_changes(integer, bigint, bigint, bytea) IS 'internal: what a statement on another node did to a replicated table';

CREATE VIEW shardman.global_tables AS
    SELECT r.rel::regclass AS relid,
           CASE WHEN r.log_id IS NULL THEN (SELECT min(id) FROM shardman.node WHERE state = 'active') END AS main_rgid,
           c.relname, n.nspname, CASE WHEN r.log_id IS NULL THEN 'trigger' ELSE 'log' END AS kind
    FROM shardman.replicated_table AS r
         JOIN pg_catalog.pg_class AS c ON c.oid = r.rel
         JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace;
COMMENT ON VIEW shardman.global_tables IS 'replicated tables; main_rgid is the home node, where writers queue up; none if a log carries the changes';
GRANT SELECT ON shardman.global_tables TO PUBLIC;

CREATE FUNCTION shardman.row_hashes(table_id bigint) RETURNS TABLE (image text, key text, hash bigint)
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'row_hashes_wrapper';
COMMENT ON FUNCTION shardman.row_hashes(bigint) IS 'internal: the keys of a replicated table''s rows on this node, each with a hash of the row';

CREATE FUNCTION shardman.row_images(table_id bigint, images text[]) RETURNS SETOF bytea
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'row_images_wrapper';
COMMENT ON FUNCTION shardman.row_images(bigint, text[]) IS 'internal: the rows of a replicated table with some keys, for a node that comes back';

CREATE FUNCTION shardman.check_replicated(rel regclass) RETURNS TABLE (node_id integer, key text, difference text)
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'check_replicated_wrapper';
COMMENT ON FUNCTION shardman.check_replicated(regclass) IS 'compares the copies of a replicated table with the one on this node and returns the rows that differ; its writers wait until the transaction ends';

CREATE FUNCTION shardman.repair_replicated(rel regclass) RETURNS bigint
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'repair_replicated_wrapper';
COMMENT ON FUNCTION shardman.repair_replicated(regclass) IS 'makes the copies of a replicated table equal to the one on this node; returns how many rows it changed on other nodes';

CREATE FUNCTION shardman.replicate_table(rel regclass) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'replicate_table_wrapper';
COMMENT ON FUNCTION shardman.replicate_table(regclass) IS 'turns a local table into a replicated one, with its rows on every node';

CREATE FUNCTION shardman.unreplicate_table(rel regclass) RETURNS void
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'unreplicate_table_wrapper';
COMMENT ON FUNCTION shardman.unreplicate_table(regclass) IS 'turns a replicated table into a local one of this node and drops the other copies';
