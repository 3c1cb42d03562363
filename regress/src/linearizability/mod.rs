//! Whether concurrent operations on one object look as if each had happened at
//! one instant between its call and its answer.
//!
//! The search is Wing and Gong's, with configurations remembered as Lowe does.
//! An operation without an answer may have happened at any time since its call,
//! or never; one that was refused for certain is left out of a history, so a
//! trace of it is a violation. Objects are judged one by one: a history is
//! linearizable if that of each of its objects is.

mod counter;
mod history;
mod model;
mod register;
mod search;
mod set;

#[cfg(test)]
mod brute_force;
#[cfg(test)]
mod samples;

pub use counter::Counter;
pub use history::{Operation, bounded};
pub use model::Model;
pub use register::Register;
pub use search::{Verdict, check};
pub use set::Set;
