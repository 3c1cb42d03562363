//! What can be proposed about jobs, and what comes of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{JobId, JobKind, JobStatus, TaskStatus};
use crate::NodeId;

/// An entry of the metadata log about jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobCommand {
    /// A new job; answers its id.
    Submit {
        /// As in [`super::Job::key`].
        key: String,
        /// As in [`super::Job::kind`].
        kind: JobKind,
        /// As in [`super::Job::owner`].
        owner: String,
        /// As in [`super::Job::home`].
        home: NodeId,
        /// The proposer's clock.
        at: i64,
    },
    /// A node takes the job over from the attempt that it knows; answers the
    /// new attempt.
    Claim {
        /// Which.
        job: JobId,
        /// Who.
        node: NodeId,
        /// The attempt that is to end.
        after: u64,
        /// The proposer's clock.
        at: i64,
    },
    /// The driver keeps where it is.
    Save {
        /// Which.
        job: JobId,
        /// The driver's.
        attempt: u64,
        /// As in [`super::Job::state`].
        state: String,
        /// As in [`super::Job::message`].
        message: String,
    },
    /// The driver gives nodes something to do; answers the round.
    Assign {
        /// Which.
        job: JobId,
        /// The driver's.
        attempt: u64,
        /// In place of all tasks before.
        tasks: BTreeMap<NodeId, String>,
    },
    /// A node tells how far its task is.
    Report {
        /// Which.
        job: JobId,
        /// The task's.
        round: u64,
        /// Who.
        node: NodeId,
        /// How far.
        status: TaskStatus,
        /// As in [`super::Task::detail`].
        detail: String,
    },
    /// The driver cannot go on: from here on the job cleans up.
    Fail {
        /// Which.
        job: JobId,
        /// The driver's.
        attempt: u64,
        /// Why.
        message: String,
    },
    /// The driver is through: with the work, or with cleaning up.
    Finish {
        /// Which.
        job: JobId,
        /// The driver's.
        attempt: u64,
        /// What was left out; empty if nothing.
        left_out: String,
        /// The proposer's clock.
        at: i64,
    },
    /// Somebody wants the job to stop. Whoever works at it loses its attempt.
    Cancel {
        /// Which.
        job: JobId,
        /// The proposer's clock.
        at: i64,
    },
    /// Somebody wants the job to be tried again.
    Resume {
        /// Which.
        job: JobId,
    },
}

/// What applying a [`JobCommand`] answered, if not only that it was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobAnswer {
    /// The job exists.
    Submitted {
        /// Its id.
        id: JobId,
    },
    /// The node drives the job.
    Claimed {
        /// Under this number.
        attempt: u64,
    },
    /// The nodes have their tasks.
    Assigned {
        /// Under this number.
        round: u64,
    },
}

/// Why a [`JobCommand`] was left without effect.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobRefusal {
    /// There is no such job, or it ended long ago.
    #[error("job {id} does not exist")]
    Unknown {
        /// What was asked for.
        id: JobId,
    },
    /// The attempt or the round was replaced.
    #[error("job {id} was taken over or canceled")]
    Outdated {
        /// Which.
        id: JobId,
    },
    /// Nothing can be done with a job that is over, except resuming it.
    #[error("job {id} is over: {}", .status.as_str())]
    Over {
        /// Which.
        id: JobId,
        /// How it ended.
        status: JobStatus,
    },
    /// Only what failed, was canceled or left something out can be resumed.
    #[error("job {id} cannot be resumed: {}", .status.as_str())]
    NotResumable {
        /// Which.
        id: JobId,
        /// How it stands.
        status: JobStatus,
    },
}
