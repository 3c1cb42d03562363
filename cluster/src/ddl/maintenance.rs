//! VACUUM and its like on their way to another node.

use serde::{Deserialize, Serialize};

/// A statement that cannot be part of a transaction of several nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// Who has it run.
    pub user: String,
    /// VACUUM, ANALYZE, CLUSTER or REINDEX, of sharded tables by their names.
    pub statement: String,
    /// Whether ANALYZE is for the tables, partitions of other nodes included,
    /// rather than for the node's own partitions.
    pub is_whole: bool,
}
