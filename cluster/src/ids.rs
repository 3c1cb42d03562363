//! Names for the things a cluster counts. OIDs are not among them: they differ
//! between nodes, so nothing that crosses a wire or lies in the log is an OID.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A node of the cluster: 1, 2, …, given by the metadata log and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

/// The cluster, as 32 lower-case hexadecimal digits drawn at its creation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub String);

/// A sharded table, the same number on every node; given in the transaction
/// that creates the table and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TableId(pub u64);

/// A partition of a sharded table: the remainder of its hash partition, from 0
/// to `num_parts - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionNumber(pub u16);

/// A life of a managed sequence: drawn at random when the sequence is created
/// or begins anew, the same on every node. Random, so that what the log keeps of
/// one that was rolled back is never taken for another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SequenceId(pub u64);

/// PostgreSQL's identifier of a database cluster (`pg_control_system()`), set
/// by initdb: what tells a data directory from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SystemIdentifier(pub u64);

/// A position in the metadata log; the first entry has index 1 or above.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LogIndex(pub u64);

macro_rules! display_as_number {
    ($($id:ty),*) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
display_as_number!(
    NodeId,
    ClusterId,
    TableId,
    PartitionNumber,
    SequenceId,
    SystemIdentifier,
    LogIndex
);
