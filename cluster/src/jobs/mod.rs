//! Jobs: work that outlives the statement that asked for it. Their definitions
//! and their state lie in the metadata log, so that every node shows the same
//! and any node may take one over.
//!
//! A job has one *driver* at a time, a node that the log has chosen under an
//! *attempt* number: what an outdated attempt proposes is refused. The driver
//! has nodes do *tasks*, in *rounds*; a round that was replaced or revoked
//! takes no reports any more. So whoever is killed, or wakes up late, changes
//! nothing that others rely on.

mod ahead;
mod command;
mod kind;
mod launch;
mod ledger;
mod record;

pub use ahead::{Member, Named, ahead_of};
pub use command::{JobAnswer, JobCommand, JobRefusal};
pub use kind::{IndexBuild, JobKind, RebalanceGoal};
pub use launch::{Action, Outlook, Role, Running, decide};
pub use ledger::Jobs;
pub use record::{Ending, Job, JobId, JobStatus, Task, TaskStatus};
