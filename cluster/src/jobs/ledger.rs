//! All jobs, and how commands change them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Ending, Job, JobAnswer, JobCommand, JobId, JobKind, JobRefusal, JobStatus, Task, TaskStatus,
};

/// Jobs that are over are kept up to this number: the metadata travels whole.
const HISTORY: usize = 200;

/// The part of the metadata that is about jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jobs {
    jobs: BTreeMap<JobId, Job>,
    last_id: u64,
    /// Made by a job on every node, so DROP TABLESPACE is one, too.
    tablespaces: BTreeSet<String>,
}

type Answer = Result<Option<JobAnswer>, JobRefusal>;

impl Jobs {
    /// All jobs that are remembered, by id.
    pub fn all(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// One job.
    pub fn get(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Whether a tablespace was made on every node by a job.
    pub fn has_tablespace(&self, name: &str) -> bool {
        self.tablespaces.contains(name)
    }

    /// Applies one committed command. A refusal leaves the state as it was.
    pub fn apply(&mut self, command: JobCommand) -> Answer {
        match command {
            JobCommand::Submit { key, kind, owner, home, at } => {
                if let Some(job) = self.jobs.values().find(|job| job.key == key) {
                    return Ok(Some(JobAnswer::Submitted { id: job.id }));
                }
                self.last_id += 1;
                let id = JobId(self.last_id);
                let job = Job {
                    id,
                    key,
                    kind,
                    owner,
                    home,
                    status: JobStatus::Waiting,
                    ending: None,
                    message: String::new(),
                    driver: None,
                    attempt: 0,
                    state: String::new(),
                    round: 0,
                    tasks: BTreeMap::new(),
                    submitted_at: at,
                    started_at: None,
                    ended_at: None,
                };
                self.jobs.insert(id, job);
                Ok(Some(JobAnswer::Submitted { id }))
            }
            JobCommand::Claim { job, node, after, at } => {
                let job = self.live(job)?;
                if job.attempt != after {
                    return Err(JobRefusal::Outdated { id: job.id });
                }
                job.attempt += 1;
                job.driver = Some(node);
                job.status = JobStatus::InProgress;
                job.started_at.get_or_insert(at);
                Ok(Some(JobAnswer::Claimed { attempt: job.attempt }))
            }
            JobCommand::Save { job, attempt, state, message } => {
                let job = self.driven(job, attempt)?;
                job.state = state;
                job.message = message;
                Ok(None)
            }
            JobCommand::Assign { job, attempt, tasks } => {
                let job = self.driven(job, attempt)?;
                job.round += 1;
                let task = |what| Task { what, status: TaskStatus::Waiting, detail: String::new() };
                job.tasks = tasks.into_iter().map(|(node, what)| (node, task(what))).collect();
                Ok(Some(JobAnswer::Assigned { round: job.round }))
            }
            JobCommand::Report { job, round, node, status, detail } => {
                let job = self.live(job)?;
                let outdated = JobRefusal::Outdated { id: job.id };
                if job.round != round {
                    return Err(outdated);
                }
                let task = job.tasks.get_mut(&node).filter(|task| !task.status.is_over());
                let task = task.ok_or(outdated)?;
                task.status = status;
                task.detail = detail;
                Ok(None)
            }
            JobCommand::Fail { job, attempt, message } => {
                let job = self.driven(job, attempt)?;
                // One that was canceled stays canceled.
                job.ending.get_or_insert(Ending::Failed);
                job.message = message;
                job.void_tasks();
                Ok(None)
            }
            JobCommand::Finish { job, attempt, left_out, at } => {
                let job = self.driven(job, attempt)?;
                job.status = match job.ending {
                    Some(Ending::Failed) => JobStatus::Failed,
                    Some(Ending::Canceled) => JobStatus::Canceled,
                    None if left_out.is_empty() => JobStatus::Success,
                    None => JobStatus::Done,
                };
                if !left_out.is_empty() || job.status == JobStatus::Success {
                    job.message = left_out;
                }
                job.driver = None;
                job.ended_at = Some(at);
                let (kind, status) = (job.kind.clone(), job.status);
                self.note_effect(&kind, status);
                self.forget_old();
                Ok(None)
            }
            JobCommand::Cancel { job, at } => {
                let job = self.live(job)?;
                if job.status == JobStatus::Waiting && job.started_at.is_none() {
                    job.status = JobStatus::Canceled;
                    job.ended_at = Some(at);
                    return Ok(None);
                }
                if job.ending.is_none() {
                    job.ending = Some(Ending::Canceled);
                    job.status = JobStatus::InProgress;
                    // Who drives it stops; the next driver only cleans up.
                    job.attempt += 1;
                    job.driver = None;
                    job.void_tasks();
                }
                Ok(None)
            }
            JobCommand::Resume { job } => {
                let job = self.known(job)?;
                if !job.status.is_over() || job.status == JobStatus::Success {
                    return Err(JobRefusal::NotResumable { id: job.id, status: job.status });
                }
                job.status = JobStatus::Waiting;
                job.ending = None;
                job.message = String::new();
                job.driver = None;
                // Whatever it had made is gone again.
                job.state = String::new();
                job.attempt += 1;
                job.void_tasks();
                job.tasks.clear();
                job.ended_at = None;
                Ok(None)
            }
        }
    }

    fn known(&mut self, id: JobId) -> Result<&mut Job, JobRefusal> {
        self.jobs.get_mut(&id).ok_or(JobRefusal::Unknown { id })
    }

    fn live(&mut self, id: JobId) -> Result<&mut Job, JobRefusal> {
        let job = self.known(id)?;
        if job.status.is_over() {
            return Err(JobRefusal::Over { id, status: job.status });
        }
        Ok(job)
    }

    /// The job, if `attempt` is the one that drives it.
    fn driven(&mut self, id: JobId, attempt: u64) -> Result<&mut Job, JobRefusal> {
        let job = self.live(id)?;
        if job.attempt != attempt || job.driver.is_none() {
            return Err(JobRefusal::Outdated { id });
        }
        Ok(job)
    }

    fn note_effect(&mut self, kind: &JobKind, status: JobStatus) {
        if status != JobStatus::Success {
            return;
        }
        match kind {
            JobKind::CreateTablespace { name, .. } => {
                self.tablespaces.insert(name.clone());
            }
            JobKind::DropTablespace { name, .. } => {
                self.tablespaces.remove(name);
            }
            _ => {}
        }
    }

    fn forget_old(&mut self) {
        let over: Vec<_> =
            self.jobs.values().filter(|job| job.status.is_over()).map(|job| job.id).collect();
        for id in over.iter().take(over.len().saturating_sub(HISTORY)) {
            self.jobs.remove(id);
        }
    }
}

impl Job {
    /// Whoever is at a task finds it gone.
    fn void_tasks(&mut self) {
        self.round += 1;
        self.tasks.retain(|_, task| task.status.is_over());
    }
}

#[cfg(test)]
mod tests;
