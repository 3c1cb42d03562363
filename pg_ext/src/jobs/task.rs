//! A node's task.

use std::cell::Cell;
use std::time::{Duration, Instant};

use cluster::jobs::{Job, JobCommand, JobId, TaskStatus};
use cluster::{LogIndex, NodeId};
use pgrx::prelude::*;

use super::{kinds, log, trouble, work};
use crate::membership::my_identity;
use crate::report::Report;
use crate::worker::ask_log;

const LOOK: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Between two reports of how far a task is: each is an entry of the log.
const REPORTED_AFTER: Duration = Duration::from_secs(1);

/// This node's task under way.
pub struct Tasking {
    /// As it was when the task began.
    pub job: Job,
    /// This node.
    pub me: NodeId,
    /// What it is to do, for the kind to read.
    pub what: String,
    reported: Cell<Option<Instant>>,
}

/// Does this node's task of a round, unless it is over.
pub fn run(id: JobId, round: u64) -> Result<(), Report> {
    let me = my_identity()?.node_id;
    let Some(tasking) = Tasking::take(id, round, me)? else { return Ok(()) };
    let kind = kinds::of(&tasking.job.kind);
    tasking.report(TaskStatus::InProgress, String::new())?;
    let mut pause = PAUSE;
    loop {
        match work::outside(|| kind.task(&tasking)) {
            Ok(detail) => return tasking.report(TaskStatus::Done, detail),
            Err(report) if trouble::is_passing(&report) => {
                let line = trouble::line(&report);
                log!("shardman: job {id}: {line}");
                tasking.report(TaskStatus::InProgress, line)?;
                work::pause(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(report) => {
                let line = trouble::line(&report);
                log!("shardman: job {id}: {line}");
                return tasking.report(TaskStatus::Failed, line);
            }
        }
    }
}

impl Tasking {
    fn take(id: JobId, round: u64, me: NodeId) -> Result<Option<Self>, Report> {
        let (_, metadata) = ask_log(LogIndex(0), LOOK)?;
        let Some(job) = metadata.jobs().get(id).filter(|job| job.round == round) else {
            return Ok(None);
        };
        let Some(task) = job.tasks.get(&me).filter(|task| !task.status.is_over()) else {
            return Ok(None);
        };
        let (job, what) = (job.clone(), task.what.clone());
        Ok(Some(Tasking { job, me, what, reported: Cell::new(None) }))
    }

    /// Tells how far the task is, not too often. An error if the task was
    /// taken back: then it must end.
    pub fn note(&self, detail: impl FnOnce() -> String) -> Result<(), Report> {
        if self.reported.get().is_some_and(|at| at.elapsed() < REPORTED_AFTER) {
            return Ok(());
        }
        self.report(TaskStatus::InProgress, detail())
    }

    /// The error for a task that the kind does not have.
    pub fn unknown(&self) -> Report {
        let code = PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION;
        Report::new(code, format!("unknown task \"{}\" of job {}", self.what, self.job.id))
            .hint("All nodes must run the same version of shardman.")
    }

    fn report(&self, status: TaskStatus, detail: String) -> Result<(), Report> {
        self.reported.set(Some(Instant::now()));
        let (job, round, node) = (self.job.id, self.job.round, self.me);
        log::change(JobCommand::Report { job, round, node, status, detail }).map(drop)
    }
}
