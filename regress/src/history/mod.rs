//! Histories of list-append transactions, and what is wrong with them.
//!
//! Every key holds a list; a transaction reads lists and appends values that
//! nobody else appends. A list tells the order of its writers, so a history
//! shows by itself which transaction came before which, and a cycle among them
//! is an anomaly. Names are Adya's and those of snapshot isolation.

mod anomaly;
mod check;
mod cycles;
mod dependencies;
mod lists;
mod transaction;

#[cfg(test)]
mod samples;

pub use anomaly::Anomaly;
pub use check::{Level, anomalies, violations};
pub use transaction::{Op, Outcome, Transaction};
