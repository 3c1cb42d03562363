//! Transactions over several nodes: what a participant that is still prepared
//! is to do.

#[cfg(test)]
mod crash_points;
mod distributed_id;
mod gid;
mod recovery;
mod settled;
mod termination;

pub use distributed_id::DistributedId;
pub use gid::{Gid, Life, TransactionName};
pub use recovery::{
    CoordinatorRecord, CoordinatorState, LocalOutcome, Verdict, decide, local_outcome,
};
pub use settled::Listing;
pub use termination::{Answer, decide_without_coordinator};
