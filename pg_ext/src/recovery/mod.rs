//! Finishing what a crash interrupted: participants that are still prepared.
//!
//! Each node answers for the transactions that it coordinated, and for no
//! others. The rule is in `cluster::txn`.

mod background;
mod decision;
mod pass;
mod sql;

pub use background::register;
pub use decision::record_decision;
