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
    state             text NOT NULL CHECK (state IN ('joining', 'active'))
);
COMMENT ON TABLE shardman.node IS 'members, as the applied metadata log has them';

CREATE TABLE shardman.log_position (
    queue         text PRIMARY KEY,
    applied_index bigint NOT NULL
);
COMMENT ON TABLE shardman.log_position IS 'how far each applier of this node has brought the metadata log into PostgreSQL';
INSERT INTO shardman.log_position VALUES ('nodes', 0);

-- One row. Locked EXCLUSIVE by every managed DDL, first on the node with the
-- lowest id: that lock is the cluster's DDL lock.
CREATE TABLE shardman.ddl_state (
    last_table_id bigint NOT NULL
);
COMMENT ON TABLE shardman.ddl_state IS 'the last table id given in the cluster; its table lock is the DDL lock';
INSERT INTO shardman.ddl_state VALUES (0);

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
    PRIMARY KEY (group_id, pnum)
);
COMMENT ON TABLE shardman.placement IS 'the shard map: which node holds partition pnum of every table of a colocation group';

REVOKE ALL ON shardman.node, shardman.log_position, shardman.ddl_state, shardman.sharded_table, shardman.placement FROM PUBLIC;
GRANT SELECT ON shardman.node, shardman.log_position, shardman.ddl_state, shardman.sharded_table, shardman.placement TO PUBLIC;
GRANT USAGE ON SCHEMA shardman, shardman_data, shardman_remote TO PUBLIC;

CREATE TABLE shardman.commit_decision (
    xid          bigint PRIMARY KEY,
    participants integer[] NOT NULL,
    decided_at   timestamptz NOT NULL
);
COMMENT ON TABLE shardman.commit_decision IS 'transactions of this node that were committed while participants were prepared; a row goes when none is prepared any more';
REVOKE ALL ON shardman.commit_decision FROM PUBLIC;
GRANT SELECT ON shardman.commit_decision TO PUBLIC;
