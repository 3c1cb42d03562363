//! Transactions over several nodes: what a participant that is still prepared
//! is to do, and how one snapshot of all nodes is taken.

#[cfg(test)]
mod crash_points;
mod distributed_id;
mod gate;
mod gid;
mod in_doubt;
mod recovery;
mod settled;
mod termination;

pub use distributed_id::DistributedId;
pub use gate::{
    Attempt, Closing, GateRequest, Leftovers, SnapshotAttempts, Turnstile, is_still_closed,
    settled_up_to,
};
pub use gid::{Gid, Life, TransactionName};
pub use in_doubt::{IN_DOUBT_AFTER, IN_DOUBT_WAIT, SECOND_PHASE_TIMEOUT, next_look};
pub use recovery::{
    CoordinatorRecord, CoordinatorState, LocalOutcome, Verdict, decide, local_outcome,
};
pub use settled::Listing;
pub use termination::{Answer, decide_without_coordinator};
