//! Jobs: work that outlives the statement that asked for it, such as an index
//! built concurrently on all nodes.
//!
//! What the log keeps of them and who does what next is decided in
//! `cluster::jobs`. Each node has a *launcher*, a background worker that sees
//! every change of the log and starts a dynamic worker for a job that the node
//! drives and for a task that it was given. A worker that is killed, or whose
//! server is, is started again from what the log says; so each step of a kind
//! must stand being done twice, or half and then again.
//!
//! A new kind: a variant of [`cluster::jobs::JobKind`], a file in `kinds` that
//! implements [`kind::Kind`], and a line in [`kinds::of`].

mod driving;
pub mod kind;
pub mod kinds;
mod launcher;
mod log;
mod older;
mod sql;
mod submit;
mod task;
mod top_level;
mod trouble;
mod work;
mod worker;

pub use launcher::register;
pub use submit::{submit, submit_and_wait};
pub use work::{in_transaction, outside, pause};
