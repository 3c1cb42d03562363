//! Failures as values, and the one border where a value becomes an `ereport`.
//!
//! Everything below the callbacks returns [`Error`]. Nothing there raises, so
//! no `RefCell` borrow, lease or buffer is ever jumped over.

mod border;
mod kinds;
mod refusal;
mod remote;
mod report;
mod sqlstate;

pub use border::{callback, emit, quietly, raise};
pub use kinds::Error;
pub use refusal::Refusal;
pub use remote::RemoteError;
pub use report::Report;
pub use sqlstate::SqlState;
