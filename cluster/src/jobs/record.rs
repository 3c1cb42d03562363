//! A job as the metadata log knows it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::JobKind;
use crate::NodeId;

/// A job: 1, 2, …, given by the metadata log and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a job stands, in pg_shardman's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Nobody has begun.
    Waiting,
    /// A node drives it, or is to take it over; also while it cleans up.
    InProgress,
    /// Everything was done.
    Success,
    /// It went to its end, but something was left out: `message` says what.
    Done,
    /// It could not be done, and what it had made is gone again.
    Failed,
    /// Somebody asked for it to stop, and what it had made is gone again.
    Canceled,
}

impl JobStatus {
    /// The word that `shardman.cmd_log` shows.
    pub fn as_str(self) -> &'static str {
        match self {
            JobStatus::Waiting => "waiting",
            JobStatus::InProgress => "in progress",
            JobStatus::Success => "success",
            JobStatus::Done => "done",
            JobStatus::Failed => "failed",
            JobStatus::Canceled => "canceled",
        }
    }

    /// Whether nothing happens any more, unless it is resumed.
    pub fn is_over(self) -> bool {
        !matches!(self, JobStatus::Waiting | JobStatus::InProgress)
    }
}

/// Why a job that is in progress is only cleaning up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It failed, for the reason in `message`.
    Failed,
    /// Somebody asked for it.
    Canceled,
}

/// How far a node is with its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Not begun, or begun and not reported.
    Waiting,
    /// Under way.
    InProgress,
    /// Done.
    Done,
    /// It could not be done: the detail says why.
    Failed,
}

impl TaskStatus {
    /// The word that the job's progress shows.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskStatus::Waiting => "waiting",
            TaskStatus::InProgress => "in progress",
            TaskStatus::Done => "done",
            TaskStatus::Failed => "failed",
        }
    }

    /// Whether the node has nothing more to do.
    pub fn is_over(self) -> bool {
        matches!(self, TaskStatus::Done | TaskStatus::Failed)
    }
}

/// What one node is to do for a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// For the job's kind to read.
    pub what: String,
    /// How far it is.
    pub status: TaskStatus,
    /// For people; why, if it failed.
    pub detail: String,
}

/// A row of `shardman.cmd_log`. Times are microseconds since 1970 by the clock
/// of the node that proposed the change: for people, nothing is decided by them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Given by the log.
    pub id: JobId,
    /// Drawn by who submitted it: a proposal that is repeated makes no second
    /// job.
    pub key: String,
    /// What it is to do.
    pub kind: JobKind,
    /// The role that submitted it and whose rights it has.
    pub owner: String,
    /// The node that is to drive it as long as it is there.
    pub home: NodeId,
    /// Where it stands.
    pub status: JobStatus,
    /// Set while it only cleans up.
    pub ending: Option<Ending>,
    /// What went wrong last.
    pub message: String,
    /// Who drives it; none before the first claim and after a cancel.
    pub driver: Option<NodeId>,
    /// How often it was claimed or revoked.
    pub attempt: u64,
    /// For the job's kind to read; empty at first.
    pub state: String,
    /// The number of the present tasks.
    pub round: u64,
    /// What nodes do now or did last.
    pub tasks: BTreeMap<NodeId, Task>,
    /// When it was submitted.
    pub submitted_at: i64,
    /// When it was claimed first.
    pub started_at: Option<i64>,
    /// When it ended last.
    pub ended_at: Option<i64>,
}
