//! This node's commit gate, in shared memory. What it is for and why it cannot
//! deadlock: `cluster::txn`.

mod closing;
mod incidents;
mod looks;
mod memory;
mod passing;
mod state;

pub use closing::{close, open};
pub use incidents::{await_settlement, last_incident, note_incident, settle};
pub use memory::{GATE, looks};
pub use passing::{init, pass_freely};
pub use state::{now, set_time_base};
