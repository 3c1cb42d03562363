//! Replicated tables: which locks their writers queue up at, and what a
//! statement's changes look like on their way to other nodes.

mod change;
mod writer_lock;

pub use change::Change;
pub use writer_lock::WriterLock;
