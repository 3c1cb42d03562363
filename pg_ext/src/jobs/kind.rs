//! What a kind of job is made of.

use super::driving::Driving;
pub use super::task::Tasking;
use crate::report::Report;

/// How a step ended.
pub enum Next {
    /// There is another one: call again.
    Again,
    /// The job is done, but for this; empty if for nothing.
    Finished(String),
}

/// A kind of job. Everything here may be interrupted at any point and is called
/// again, on this node or another: it goes on from what [`Driving::state`] says
/// and looks at what is there rather than trust what it remembers.
///
/// An error that passes (a node is away, a lock is not to be had) has the call
/// repeated after a pause; any other one fails the job, or the task.
pub trait Kind {
    /// Does the next step. In no transaction.
    fn step(&self, driving: &mut Driving) -> Result<Next, Report>;

    /// Takes back what the steps have left, after a failure or a cancel. In no
    /// transaction. Errors have it repeated.
    fn clean_up(&self, _driving: &mut Driving) -> Result<Next, Report> {
        Ok(Next::Finished(String::new()))
    }

    /// Does this node's task, on any node. In no transaction. Returns a word
    /// about it for people.
    fn task(&self, tasking: &Tasking) -> Result<String, Report> {
        Err(tasking.unknown())
    }
}
