//! Finishing what a crash interrupted: participants that are still prepared.
//!
//! Each node answers for the transactions that it coordinated. Of those that it
//! takes part in and whose coordinator cannot be asked, it asks the other
//! participants. The rules are in `cluster::txn`.

mod background;
mod decision;
mod life;
mod local;
mod nodes;
mod orphans;
mod outcome;
mod pass;
mod sql;

pub use decision::{record_commit, record_part};
pub use life::{ensure_entered, is_remembered, present_life};

/// Registers the worker and what has to happen at each start of the server.
/// Called while the library is preloaded.
pub fn init() {
    life::install();
    background::register();
}
