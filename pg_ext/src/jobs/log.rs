//! Proposing changes of jobs.

use std::time::{SystemTime, UNIX_EPOCH};

use cluster::LogIndex;
use cluster::jobs::{JobAnswer, JobCommand, JobRefusal};
use cluster::metadata::{MetadataCommand, Outcome, Refusal};
use pgrx::prelude::*;
use raft::{Request, Response};

use crate::report::Report;
use crate::worker;

/// What came of a proposal.
pub struct Proposed {
    /// Where it is in the log.
    pub index: LogIndex,
    /// What it answered; a refusal leaves the job as it was.
    pub answer: Result<Option<JobAnswer>, JobRefusal>,
}

/// Proposes a change and waits until the leader has applied it.
pub fn propose(command: JobCommand) -> Result<Proposed, Report> {
    match worker::ask(&Request::Propose(MetadataCommand::Job(command)))? {
        Response::Proposed { index, outcome } => {
            let answer = match outcome {
                Outcome::Job(answer) => Ok(Some(answer)),
                Outcome::Refused(Refusal::Job(refusal)) => Err(refusal),
                Outcome::Refused(other) => return Err(unexpected(&other.to_string())),
                _ => Ok(None),
            };
            Ok(Proposed { index, answer })
        }
        _ => Err(unexpected("An answer of another kind.")),
    }
}

/// Proposes what has no answer.
pub fn change(command: JobCommand) -> Result<LogIndex, Report> {
    let proposed = propose(command)?;
    proposed.answer.map_err(refused)?;
    Ok(proposed.index)
}

/// A refusal as an error.
pub fn refused(refusal: JobRefusal) -> Report {
    let code = match refusal {
        JobRefusal::Unknown { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        _ => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
    };
    Report::new(code, refusal.to_string()).hint("Look at shardman.cmd_log.")
}

/// This node's clock, in microseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn unexpected(detail: &str) -> Report {
    let code = PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION;
    Report::new(code, "the metadata worker gave an unexpected answer").detail(detail)
}
