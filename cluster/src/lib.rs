//! What shardman decides, as pure functions of what it is told.
//!
//! Nothing here does I/O, reads a clock or links a PostgreSQL symbol, so every
//! decision of the cluster is a unit test that runs in microseconds.
#![forbid(unsafe_code)]

pub mod ddl;
pub mod deadlock;
mod digits;
mod identity;
mod ids;
pub mod jobs;
pub mod metadata;
pub mod rebalance;
pub mod replication;
pub mod row_log;
mod server_description;
pub mod sharding;
pub mod txn;

pub use identity::{Credential, Identity};
pub use ids::{
    ClusterId, LogIndex, NodeId, PartitionNumber, SequenceId, SystemIdentifier, TableId,
};
pub use server_description::{Mismatch, ServerDescription};
