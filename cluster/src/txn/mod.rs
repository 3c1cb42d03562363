//! Transactions over several nodes: what a participant that is still prepared
//! is to do, and how one snapshot of all nodes is taken.

mod gate;
mod gid;
mod in_doubt;
mod recovery;

pub use gate::{
    Attempt, Closing, GateRequest, Leftovers, SnapshotAttempts, Turnstile, is_still_closed,
    settled_up_to,
};
pub use gid::Gid;
pub use in_doubt::{IN_DOUBT_AFTER, IN_DOUBT_WAIT, SECOND_PHASE_TIMEOUT, next_look};
pub use recovery::{CoordinatorRecord, LocalOutcome, Verdict, decide, is_settled};
