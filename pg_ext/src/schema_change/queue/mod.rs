//! The queue of schema changes: a background worker of each node that brings
//! what the metadata log has accepted into this node's database, in order.

mod background;
mod entry;
mod pass;
mod prepared;

pub use background::register;
pub use pass::in_transaction;
