//! Names of running transactions that may use several nodes.

use std::fmt;

use crate::NodeId;

/// A running transaction, named by the backend of the user who runs it, and
/// printed as `<node>.<process id>.<local transaction id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DistributedId {
    /// The coordinator's node.
    pub node: NodeId,
    /// Process id of the coordinator's backend.
    pub pid: i32,
    /// That backend's local transaction id (PGPROC.lxid): new for each of its
    /// transactions; 0 if it is not known or there is none.
    pub transaction: u32,
}

impl fmt::Display for DistributedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.node, self.pid, self.transaction)
    }
}
