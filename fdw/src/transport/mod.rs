//! The wire protocol without blocking and without raising.
//!
//! A [`Connection`] is a state machine: requests are appended to its output in
//! any number, each ending in one ReadyForQuery, and their replies come back in
//! that order, each into a buffer of its own. Nothing here knows transactions
//! or PostgreSQL's errors; a wait that the user interrupts returns a value.

mod address;
mod cancel;
mod connection;
mod opening;
mod reply;
mod rows;
mod stream;
mod wait;

pub use address::Address;
pub use cancel::request_cancel;
pub use connection::{Connection, Ticket};
pub use opening::{Opening, OpeningError, Parameters};
pub use reply::Reply;
pub use rows::{RowBuffer, fields};
pub use wait::{Interrupts, Readiness, Stop, wait_for_any};
