//! Deadlocks that no server sees by itself: transactions that wait for each
//! other on several nodes.
//!
//! Each node reports its own lock waits ([`NodeReport`]); together they are a
//! [`WaitGraph`] between transactions, not processes. Reports of several nodes
//! are never of one instant, so two rounds are taken and only what stands in
//! both counts ([`WaitGraph::standing`]): every wait of the first round was
//! then still going on when the second began, so all of them were at once, and
//! a cycle of them is a deadlock.

mod graph;
mod report;
mod search;

pub use graph::{Edge, Holder, WaitGraph};
pub use report::{Coordinator, NodeReport, Process, Wait, residue};
pub use search::Deadlock;
