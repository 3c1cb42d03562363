//! Deadlocks between nodes: which session works for which transaction, who
//! looks for cycles, and how one transaction is made to give way.
//!
//! What a deadlock is, `cluster::deadlock` decides. Every wait of one is a lock
//! request on some node, also that for the DDL lock, so it is enough to end the
//! victim's wait there: the error travels to its coordinator like any other.

mod background;
mod place;
mod round;
mod sql;
mod victim;

pub use background::register;
pub use place::{Place, coordinate, my_pid, my_start};
pub use round::Observers;
pub use victim::{give_way, has_asked_log, init, listen};
