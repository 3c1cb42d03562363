//! Statements wait for participants in doubt that have locked what they read.
//! When a participant is in doubt, and why then, is in `cluster::txn`.

mod look;
mod reading;

pub use look::may_be_any;
pub use reading::{before_reading, renew_snapshot};
