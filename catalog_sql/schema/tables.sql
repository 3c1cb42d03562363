-- What this node knows of the cluster. Rows are written by the extension only:
-- nodes by the applier of the metadata log, the rest by managed DDL, in the
-- same distributed transaction on every node.

CREATE SCHEMA shardman_data;
COMMENT ON SCHEMA shardman_data IS 'real leaves of sharded tables on this node; made by shardman only';
CREATE SCHEMA shardman_remote;
COMMENT ON SCHEMA shardman_remote IS 'foreign leaves: they stand for the tables of the same name in shardman_data of another node';

CREATE TABLE shardman.node (
    id                integer PRIMARY KEY,
    name              text NOT NULL UNIQUE,
    connstr           text NOT NULL,
    system_identifier bigint NOT NULL,
    state             text NOT NULL CHECK (state IN ('joining', 'active', 'down'))
);
COMMENT ON TABLE shardman.node IS 'members, as the applied metadata log has them';

-- Written with shardman.node.
CREATE TABLE shardman.node_epoch (
    epoch bigint NOT NULL
);
COMMENT ON TABLE shardman.node_epoch IS 'how often the set of active nodes had changed when shardman.node was as it is';
INSERT INTO shardman.node_epoch VALUES (0);

CREATE TABLE shardman.log_position (
    queue         text PRIMARY KEY,
    applied_index bigint NOT NULL
);
COMMENT ON TABLE shardman.log_position IS 'how far each applier of this node has brought the metadata log into PostgreSQL';
INSERT INTO shardman.log_position VALUES ('nodes', 0), ('ddl', 0);

-- Inserted by every transaction that does what was decided under a token, so
-- that exactly one does; gone when the queue has come by.
CREATE TABLE shardman.ddl_done (
    token bigint PRIMARY KEY
);
COMMENT ON TABLE shardman.ddl_done IS 'changes of the schema that are done on this node and that its queue has not passed yet';

-- At most one row: the entry at which the queue stands, because it failed.
CREATE TABLE shardman.ddl_failure (
    log_position bigint PRIMARY KEY,
    failed_at    timestamptz NOT NULL,
    message      text NOT NULL
);
COMMENT ON TABLE shardman.ddl_failure IS 'why the queue of schema changes does not go on; it is tried again and again';

-- One row. Locked EXCLUSIVE on the node with the lowest id by who waits for the
-- right to change the schema.
CREATE TABLE shardman.ddl_state (
    last_table_id bigint NOT NULL
);
COMMENT ON TABLE shardman.ddl_state IS 'the last table id given in the cluster; its table lock is the line for the right to change the schema';
INSERT INTO shardman.ddl_state VALUES (0);

CREATE TABLE shardman.managed_sequence (
    sequence_id bigint PRIMARY KEY,
    rel         oid NOT NULL UNIQUE,
    first_value bigint NOT NULL,
    block_size  integer NOT NULL CHECK (block_size > 0)
);
COMMENT ON TABLE shardman.managed_sequence IS 'sequences whose values are unique in the cluster; how far they are is in the metadata log';
COMMENT ON COLUMN shardman.managed_sequence.sequence_id IS 'drawn when the sequence is created or begins anew; the same on all nodes';
COMMENT ON COLUMN shardman.managed_sequence.rel IS 'OID on this node';
COMMENT ON COLUMN shardman.managed_sequence.first_value IS 'the first value since then';
COMMENT ON COLUMN shardman.managed_sequence.block_size IS 'how many values a node takes at a time';

CREATE TABLE shardman.sharded_table (
    table_id             bigint PRIMARY KEY,
    rel                  oid NOT NULL UNIQUE,
    num_parts            integer NOT NULL,
    distribution_columns name[] NOT NULL,
    group_id             bigint NOT NULL,
    leaf_options         text[] NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE shardman.sharded_table IS 'sharded tables; group_id is the table_id of the table whose creation made the colocation group';
COMMENT ON COLUMN shardman.sharded_table.rel IS 'OID on this node; every other column is the same on all nodes';

CREATE TABLE shardman.placement (
    group_id bigint NOT NULL,
    pnum     integer NOT NULL,
    node_id  integer NOT NULL,
    version  bigint NOT NULL DEFAULT 1,
    moved_by xid8,
    PRIMARY KEY (group_id, pnum)
);
COMMENT ON TABLE shardman.placement IS 'the shard map: which node holds partition pnum of every table of a colocation group';
COMMENT ON COLUMN shardman.placement.version IS 'one more with each move';
COMMENT ON COLUMN shardman.placement.moved_by IS 'this node''s part of the last move: a snapshot that does not see it cannot be used for the partition';

CREATE TABLE shardman.replicated_table (
    table_id bigint PRIMARY KEY,
    rel      oid NOT NULL UNIQUE,
    log_id   integer,
    shape    bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE shardman.replicated_table IS 'tables with the same rows on every node';
COMMENT ON COLUMN shardman.replicated_table.rel IS 'OID on this node';
COMMENT ON COLUMN shardman.replicated_table.log_id IS 'the log that carries its changes; none if triggers do';
COMMENT ON COLUMN shardman.replicated_table.shape IS 'of a table with a log: the token of the last change of the schema that changed it';

-- Inserted by whoever brings an entry of a log into this database, so that
-- exactly one does; only the last of each log is kept.
CREATE TABLE shardman.row_log_applied (
    log_id   integer,
    position bigint,
    PRIMARY KEY (log_id, position)
);
COMMENT ON TABLE shardman.row_log_applied IS 'entries of logs that are in the tables of this node; those before the last are cleared away';
REVOKE ALL ON shardman.row_log_applied FROM PUBLIC;
GRANT SELECT ON shardman.row_log_applied TO PUBLIC;

REVOKE ALL ON shardman.node, shardman.node_epoch, shardman.log_position, shardman.ddl_done, shardman.ddl_failure, shardman.ddl_state, shardman.sharded_table, shardman.placement, shardman.replicated_table, shardman.managed_sequence FROM PUBLIC;
GRANT SELECT ON shardman.node, shardman.node_epoch, shardman.log_position, shardman.ddl_done, shardman.ddl_failure, shardman.ddl_state, shardman.sharded_table, shardman.placement, shardman.replicated_table, shardman.managed_sequence TO PUBLIC;
GRANT USAGE ON SCHEMA shardman, shardman_data, shardman_remote TO PUBLIC;

-- In the transaction of the coordinator and, written by PREPARE, in that of
-- each participant. A participant that is asked by others and has neither the
-- row nor a prepared part promises with a row of the same key that it never
-- will have one.
CREATE TABLE shardman.commit_decision (
    coordinator  integer,
    life         bigint,
    xid          bigint,
    participants integer[] NOT NULL,
    promised_by  xid8,
    written_at   timestamptz NOT NULL,
    PRIMARY KEY (coordinator, life, xid)
);
COMMENT ON TABLE shardman.commit_decision IS 'distributed transactions that are committed as far as this node is concerned, kept until no participant is prepared any more';
COMMENT ON COLUMN shardman.commit_decision.life IS 'of the coordinator: from one start of its shared memory to the next';
COMMENT ON COLUMN shardman.commit_decision.xid IS 'of the coordinator';
COMMENT ON COLUMN shardman.commit_decision.promised_by IS 'if not null, this node''s part is not committed and never will be: the transaction that promised this';

CREATE TABLE shardman.in_doubt_note (
    gid   text PRIMARY KEY,
    known text NOT NULL
);
COMMENT ON TABLE shardman.in_doubt_note IS 'what the recovery worker found out of transactions that it cannot finish';

REVOKE ALL ON shardman.commit_decision, shardman.in_doubt_note FROM PUBLIC;
GRANT SELECT ON shardman.commit_decision, shardman.in_doubt_note TO PUBLIC;
