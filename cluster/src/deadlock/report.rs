//! What one node tells of its locks.

use serde::Deserialize;

use crate::NodeId;

/// One node's processes and lock waits, read at about one time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NodeReport {
    /// Which node.
    pub node: NodeId,
    /// Its backends that are in a transaction.
    pub processes: Vec<Process>,
    /// The lock requests that wait there.
    pub waits: Vec<Wait>,
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Local transaction id.
    pub transaction: u32,
    /// When its transaction began, in microseconds; 0 if that is not known.
    pub started: i64,
    /// When the backend itself was started, in microseconds.
    pub backend_started: i64,
    /// Its transaction id, if it has one: the low 32 bits.
    pub xid: Option<u32>,
    /// The nodes that its transaction has turned to, see [`residue`].
    pub coordinates: Vec<u32>,
    /// If another node opened this session: for whom.
    pub serves: Option<Coordinator>,
}

/// The backend that opened a session on another node, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Coordinator {
    /// Its node.
    pub node: NodeId,
    /// Its process id.
    pub pid: i32,
    /// When it was started, in microseconds: tells it from later processes of
    /// that id.
    pub started: i64,
}

/// The number that a node is noted by where there is room for 256 only: a rare
/// mistake makes one look closer.
pub fn residue(node: NodeId) -> u32 {
    node.0 % 256
}

/// A lock request that waits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Wait {
    /// The process that waits; of a parallel query, the leader.
    pub pid: i32,
    /// When it began to wait, in microseconds by that node's clock.
    pub since: i64,
    /// The mode asked for, like `ShareLock`.
    pub mode: String,
    /// What is to be locked, in words, like `transaction 745`.
    pub object: String,
    /// The table that it is about, if it is about one.
    pub relation: Option<String>,
    /// Processes that hold it up: holders, and those ahead in the queue.
    pub blockers: Vec<i32>,
    /// Prepared transactions that hold it up, by gid.
    pub prepared: Vec<String>,
}
