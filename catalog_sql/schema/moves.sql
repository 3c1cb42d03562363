CREATE SCHEMA shardman_moving;
COMMENT ON SCHEMA shardman_moving IS 'copies of partitions that a move has not finished; made by shardman only';
GRANT USAGE ON SCHEMA shardman_moving TO PUBLIC;

-- The first columns are the same on every node, written in a distributed
-- transaction; the rest is the destination's affair.
CREATE TABLE shardman.move (
    group_id    bigint,
    pnum        integer,
    job_id      bigint NOT NULL,
    source      integer NOT NULL,
    destination integer NOT NULL,
    started     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    phase       text NOT NULL DEFAULT 'starting',
    bytes_total bigint,
    rows_total  bigint,
    rows_copied bigint,
    snapshot    text,
    is_indexed  boolean NOT NULL DEFAULT false,
    applied     pg_lsn,
    behind      bigint,
    PRIMARY KEY (group_id, pnum)
);
COMMENT ON TABLE shardman.move IS 'partitions of colocation groups that are on the move; their tables cannot be altered meanwhile';
COMMENT ON COLUMN shardman.move.snapshot IS 'on the destination: what the copy was read with; null before it is complete';
COMMENT ON COLUMN shardman.move.applied IS 'on the destination: every change before this position of the source is in the copy';
REVOKE ALL ON shardman.move FROM PUBLIC;
GRANT SELECT ON shardman.move TO PUBLIC;

CREATE FUNCTION shardman.move_work(work text) RETURNS text
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'move_work_wrapper';
COMMENT ON FUNCTION shardman.move_work(text) IS 'internal: the driver of a move has this node do a part of it';

CREATE FUNCTION shardman.move_part(part_name text, dest integer) RETURNS bigint
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'move_part_wrapper';

CREATE FUNCTION shardman.move_pace(leaf oid) RETURNS boolean
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'move_pace_wrapper';
COMMENT ON FUNCTION shardman.move_pace(oid) IS 'internal: counts the rows of a move''s copy and slows it down; always true';

CREATE FUNCTION shardman.move_forward(slot text, applied text) RETURNS text
    LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'move_forward_wrapper';
COMMENT ON FUNCTION shardman.move_forward(text, text) IS 'internal: releases changes that a move''s destination has applied and returns up to where there are others';

-- Values are printed so that every session reads them alike.
CREATE FUNCTION shardman.move_changes(slot text, max_changes integer, OUT lsn text, OUT xid text, OUT data text)
    RETURNS SETOF record
    LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET extra_float_digits = 3
    -- Not a line in the log for each look at the changes; errors reach the destination's log.
    SET bytea_output = 'hex' SET log_min_messages = 'fatal'
    AS $$
        SELECT lsn::text, xid::text, data::text
        FROM pg_logical_slot_peek_binary_changes(slot, NULL, max_changes, 'proto_version', '1', 'publication_names', slot)
    $$;
COMMENT ON FUNCTION shardman.move_changes(text, integer) IS 'internal: changes that a move''s destination has not applied';

REVOKE ALL ON FUNCTION shardman.move_work(text), shardman.move_forward(text, text), shardman.move_changes(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION shardman.move_work(text) TO shardman_node;
