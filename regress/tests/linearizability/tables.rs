//! The tables that hold the objects.

use regress::TestCluster;

/// Few, so that clients meet.
pub const KEYS: u32 = 3;

/// The log of the tables that have one.
const LOG: &str = "objects";

/// How the tables are spread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Each object on one node.
    Sharded,
    /// All objects on all nodes, their changes in a log.
    Logged,
}

impl Kind {
    /// Registers, sets and counters, and a table on all nodes that some changes
    /// of them change as well.
    pub fn create(self, cluster: &TestCluster) -> anyhow::Result<()> {
        let options = |key: &str| match self {
            Self::Sharded => format!("distributed_by = '{key}', num_parts = 6"),
            Self::Logged => format!("replicated, log = '{LOG}'"),
        };
        if self == Self::Logged {
            cluster.session(1)?.run(&format!("SELECT shardman.add_log('{LOG}')"))?;
        }
        cluster.session(1)?.run(&format!(
            "CREATE TABLE register (id integer PRIMARY KEY, v bigint NOT NULL) WITH ({});
             CREATE TABLE element (id integer, v bigint, PRIMARY KEY (id, v)) WITH ({});
             CREATE TABLE counter (id integer PRIMARY KEY, n bigint NOT NULL) WITH ({});
             CREATE TABLE other (id integer PRIMARY KEY, n bigint NOT NULL)
                 WITH (distributed_by = 'id', num_parts = 6);
             INSERT INTO register SELECT g, 0 FROM generate_series(0, {KEYS} - 1) AS g;
             INSERT INTO counter SELECT g, 0 FROM generate_series(0, {KEYS} - 1) AS g;
             INSERT INTO other SELECT g, 0 FROM generate_series(0, 19) AS g",
            options("id"),
            options("id"),
            options("id"),
        ))
    }
}
