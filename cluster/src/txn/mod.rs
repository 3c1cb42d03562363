//! Transactions over several nodes: what a participant that is still prepared
//! is to do.

mod distributed_id;
mod gid;
mod recovery;

pub use distributed_id::DistributedId;
pub use gid::Gid;
pub use recovery::{CoordinatorRecord, LocalOutcome, Verdict, decide, is_settled};
