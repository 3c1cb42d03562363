//! A driver's view of its job.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::jobs::{Ending, Job, JobAnswer, JobCommand, JobId, TaskStatus};
use cluster::metadata::{Metadata, NodeState};
use cluster::{LogIndex, NodeId};
use pgrx::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::kind::Next;
use super::older::{older_job, waits_for};
use super::{kinds, log, trouble, work};
use crate::report::Report;
use crate::worker::ask_log;

/// For one look at the log.
const LOOK: Duration = Duration::from_secs(30);
/// Between two attempts at a step that an error has stopped which passes.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A job under this worker's attempt.
pub struct Driving {
    job: Job,
    metadata: Metadata,
    index: LogIndex,
}

/// Drives a job to its end, or until the log has given it to somebody else.
pub fn drive(id: JobId, attempt: u64) -> Result<(), Report> {
    let Some(mut driving) = Driving::take(id, attempt)? else { return Ok(()) };
    let kind = kinds::of(&driving.job.kind);
    let mut pause = PAUSE;
    loop {
        if !driving.look(LogIndex(0), Duration::ZERO)? {
            return Ok(());
        }
        let is_ending = driving.job.ending.is_some();
        let done = work::outside(|| match is_ending {
            true => kind.clean_up(&mut driving),
            false => kind.step(&mut driving),
        });
        match done {
            Ok(Next::Again) => {
                pause = PAUSE;
                continue;
            }
            Ok(Next::Finished(left_out)) => {
                return driving.propose(|job| {
                    let (job, at) = (job.id, log::now());
                    JobCommand::Finish { job, attempt, left_out: left_out.clone(), at }
                });
            }
            Err(report) => {
                let message = trouble::line(&report);
                // Somebody else has the job: nothing is left to say.
                if !driving.look(LogIndex(0), Duration::ZERO)? {
                    return Ok(());
                }
                log!("shardman: job {id}: {message}");
                if is_ending || trouble::is_passing(&report) {
                    // Why it failed stays to be seen.
                    if !is_ending {
                        let state = driving.job.state.clone();
                        driving.keep(state, message)?;
                    }
                    work::pause(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                } else {
                    driving.propose(|job| JobCommand::Fail {
                        job: job.id,
                        attempt,
                        message: message.clone(),
                    })?;
                    pause = PAUSE;
                }
            }
        }
    }
}

impl Driving {
    /// Waits for the claim to be seen here. `None` if it was lost again.
    fn take(id: JobId, attempt: u64) -> Result<Option<Self>, Report> {
        let mut index = LogIndex(0);
        loop {
            let (at, metadata) = ask_log(index, LOOK)?;
            index = at;
            match metadata.jobs().get(id) {
                None => return Ok(None),
                Some(job) if job.attempt > attempt => return Ok(None),
                Some(job) if job.attempt == attempt => {
                    let job = job.clone();
                    return Ok(Some(Driving { job, metadata, index }));
                }
                Some(_) => {}
            }
        }
    }

    /// Looks at the log again. False if the job is somebody else's now.
    fn look(&mut self, beyond: LogIndex, patience: Duration) -> Result<bool, Report> {
        let (index, metadata) = ask_log(beyond, patience)?;
        (self.index, self.metadata) = (index, metadata);
        let Some(job) = self.metadata.jobs().get(self.job.id) else { return Ok(false) };
        let is_ours = job.attempt == self.job.attempt && !job.status.is_over();
        self.job = job.clone();
        Ok(is_ours)
    }

    /// The job as it was when last looked at.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Everything the log had decided then.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Active nodes, in ascending order.
    pub fn active_nodes(&self) -> Vec<NodeId> {
        let nodes = self.metadata.nodes().filter(|node| node.state == NodeState::Active);
        nodes.map(|node| node.id).collect()
    }

    /// Whether it failed or was canceled, and is cleaned up.
    pub fn ending(&self) -> Option<Ending> {
        self.job.ending
    }

    /// Waits until no older job works at what this one is about to change. Mostly the
    /// launcher has waited already; it may have looked before it knew a new table.
    pub fn wait_for_older_jobs(&mut self) -> Result<(), Report> {
        loop {
            let jobs = self.metadata.jobs();
            let Some(older) = work::in_transaction(|| older_job(&self.job, jobs))? else {
                return self.tell("");
            };
            let word = waits_for(older, jobs);
            self.tell(&word)?;
            if !self.look(self.index, LOOK)? {
                return Err(log::refused(cluster::jobs::JobRefusal::Outdated { id: self.job.id }));
            }
        }
    }

    /// Shows people what the job waits for; an empty word if for nothing.
    pub fn tell(&mut self, word: &str) -> Result<(), Report> {
        if self.job.message == word {
            return Ok(());
        }
        self.keep(self.job.state.clone(), word.to_owned())
    }

    /// Where the job is, as it was saved; the default at first.
    pub fn state<S: DeserializeOwned + Default>(&self) -> Result<S, Report> {
        if self.job.state.is_empty() {
            return Ok(S::default());
        }
        serde_json::from_str(&self.job.state).map_err(|error| {
            let code = PgSqlErrorCode::ERRCODE_DATA_CORRUPTED;
            Report::new(code, format!("could not read the state of job {}", self.job.id))
                .detail(error.to_string())
        })
    }

    /// Keeps where the job is. An error if it is somebody else's by now: then
    /// nothing more may be done for it.
    pub fn save(&mut self, state: &impl Serialize) -> Result<(), Report> {
        let state = serde_json::to_string(state).unwrap_or_default();
        self.keep(state, String::new())
    }

    fn keep(&mut self, state: String, message: String) -> Result<(), Report> {
        self.propose(|job| {
            let (state, message) = (state.clone(), message.clone());
            JobCommand::Save { job: job.id, attempt: job.attempt, state, message }
        })
    }

    /// Has nodes do tasks, all at the same time, and waits until all have done
    /// them; goes on with the same tasks if an earlier attempt has given them.
    /// A task that failed is an error. Nodes that leave the cluster meanwhile
    /// are not waited for.
    pub fn run_tasks(&mut self, tasks: BTreeMap<NodeId, String>) -> Result<(), Report> {
        let given = self.job.tasks.iter().map(|(node, task)| (*node, task.what.clone()));
        let is_failed = |job: &Job| job.tasks.values().any(|it| it.status == TaskStatus::Failed);
        if given.collect::<BTreeMap<_, _>>() != tasks || is_failed(&self.job) {
            self.propose(|job| JobCommand::Assign {
                job: job.id,
                attempt: job.attempt,
                tasks: tasks.clone(),
            })?;
        }
        loop {
            let is_over =
                self.job.tasks.iter().all(|(node, task)| {
                    task.status.is_over() || self.metadata.node(*node).is_none()
                });
            if is_over {
                break;
            }
            if !self.look(self.index, LOOK)? {
                return Err(log::refused(cluster::jobs::JobRefusal::Outdated { id: self.job.id }));
            }
        }
        let failed = self.job.tasks.iter().find(|(_, task)| task.status == TaskStatus::Failed);
        match failed {
            None => Ok(()),
            Some((node, task)) => {
                let (code, message) = trouble::from_line(&task.detail);
                let name = self.metadata.node(*node).map(|node| node.name.clone());
                let name = name.unwrap_or_else(|| format!("node {node}"));
                Err(Report::new(code, format!("{name}: {message}")))
            }
        }
    }

    /// The same on all active nodes.
    pub fn run_everywhere(&mut self, what: &str) -> Result<(), Report> {
        let nodes = self.active_nodes();
        self.run_tasks(nodes.into_iter().map(|node| (node, what.to_owned())).collect())
    }

    /// Proposes a change and waits until it is seen here.
    fn propose(&mut self, command: impl Fn(&Job) -> JobCommand) -> Result<(), Report> {
        let proposed = log::propose(command(&self.job))?;
        let answer = proposed.answer.map_err(log::refused)?;
        while self.index < proposed.index {
            self.look(self.index, LOOK)?;
        }
        if let Some(JobAnswer::Assigned { round }) = answer
            && round != self.job.round
        {
            return Err(log::refused(cluster::jobs::JobRefusal::Outdated { id: self.job.id }));
        }
        Ok(())
    }
}
