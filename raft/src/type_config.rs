//! openraft's types, filled in. [`cluster::NodeId`] stays outside of openraft:
//! its conformance suite asks for ids that come from `u64`.

use std::io::Cursor;

use cluster::metadata::{MetadataCommand, Outcome};
use cluster::{LogIndex, NodeId};
use openraft::BasicNode;

openraft::declare_raft_types!(
    /// What the log carries (`D`) and what applying it answers (`R`).
    pub(crate) TypeConfig:
        D = MetadataCommand,
        R = Outcome,
);

/// A node's id as openraft counts it.
pub(crate) type RaftNodeId = u64;
pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type LogId = openraft::LogId<RaftNodeId>;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type StoredMembership = openraft::StoredMembership<RaftNodeId, BasicNode>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<RaftNodeId, BasicNode>;
pub(crate) type Snapshot = openraft::Snapshot<TypeConfig>;
pub(crate) type StorageError = openraft::StorageError<RaftNodeId>;
pub(crate) type RaftMetrics = openraft::RaftMetrics<RaftNodeId, BasicNode>;

/// The id under which openraft knows `node`.
pub(crate) fn raft_id(node: NodeId) -> RaftNodeId {
    RaftNodeId::from(node.0)
}

/// The inverse of [`raft_id`]. Ids enter openraft only through that function,
/// or in the frames of a peer, where one that does not fit names no node.
pub(crate) fn node_id(id: RaftNodeId) -> NodeId {
    NodeId(u32::try_from(id).unwrap_or(u32::MAX))
}

/// The index that users of this crate see; the membership that `initialize`
/// writes has openraft's index 0, which is our "nothing applied yet".
pub(crate) fn log_index(log_id: Option<LogId>) -> LogIndex {
    LogIndex(log_id.map_or(0, |id| id.index))
}
