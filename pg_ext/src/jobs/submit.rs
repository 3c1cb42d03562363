//! Submitting a job and waiting for it.
#![allow(unsafe_code)]

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use cluster::jobs::{Job, JobAnswer, JobCommand, JobId, JobKind, JobRefusal, JobStatus};
use cluster::{LogIndex, NodeId};
use pgrx::PgTryBuilder;
use pgrx::prelude::*;

use super::{log, trouble};
use crate::membership::{current_user, my_identity, random_hex};
use crate::report::Report;
use crate::worker::ask_log;

/// For one look at the log.
const LOOK: Duration = Duration::from_secs(30);
/// Proposals whose outcome is unknown are repeated: the key makes them one.
const PROPOSALS: usize = 3;

/// Submits a job of the current user, to be driven by this node as long as it
/// is there. Returns its id once `shardman.cmd_log` of this node shows it.
pub fn submit(kind: JobKind) -> Result<JobId, Report> {
    let home = my_identity()?.node_id;
    submit_as(kind, random_hex(16)?, current_user(), home)
}

/// The same for another user, to be driven by another node. The same key again is
/// the same job.
pub fn submit_as(kind: JobKind, key: String, owner: String, home: NodeId) -> Result<JobId, Report> {
    let at = log::now();
    let command = JobCommand::Submit { key, kind, owner, home, at };
    let mut proposals = 0;
    let proposed = loop {
        proposals += 1;
        match log::propose(command.clone()) {
            Err(report)
                if report.code == PgSqlErrorCode::ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN
                    && proposals < PROPOSALS => {}
            other => break other?,
        }
    };
    match proposed.answer.map_err(log::refused)? {
        Some(JobAnswer::Submitted { id }) => {
            wait_until_applied(proposed.index)?;
            Ok(id)
        }
        _ => Err(Report::new(
            PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
            "the metadata worker gave an unexpected answer",
        )),
    }
}

/// Waits until this node has applied the log up to `index`.
pub fn wait_until_applied(index: LogIndex) -> Result<(), Report> {
    let mut seen = LogIndex(0);
    while seen < index {
        (seen, _) = ask_log(seen, LOOK)?;
    }
    Ok(())
}

/// Waits until a job is over. Answers to cancel, which leaves the job alone.
pub fn wait(id: JobId) -> Result<Job, Report> {
    let mut seen = LogIndex(0);
    loop {
        let (index, metadata) = ask_log(seen, LOOK)?;
        let job =
            metadata.jobs().get(id).ok_or(JobRefusal::Unknown { id }).map_err(log::refused)?;
        if job.status.is_over() {
            return Ok(job.clone());
        }
        seen = index;
    }
}

/// What a statement does whose work is a job: submits it, and waits for it
/// with no snapshot and no lock that the job would have to wait for. Whatever
/// interrupts the wait cancels the job. An error if the job has failed.
///
/// Ends the present transaction and begins another: the statement must have
/// been found to be alone.
pub fn submit_and_wait(kind: JobKind) -> Result<(), Report> {
    let id = submit(kind)?;
    // SAFETY: guarded calls; the caller's contract, as for the statements that
    // do the same on one server. What the hook was given outlives it.
    unsafe {
        if pg_sys::ActiveSnapshotSet() {
            pg_sys::PopActiveSnapshot();
        }
        pg_sys::CommitTransactionCommand();
        pg_sys::StartTransactionCommand();
    }
    let waited = PgTryBuilder::new(AssertUnwindSafe(|| wait(id)))
        .catch_others(|error| {
            // Best effort: the job can be canceled by hand as well.
            let canceled = log::change(JobCommand::Cancel { job: id, at: log::now() });
            if let Err(report) = canceled {
                warning!("could not cancel job {id}: {}", report.message);
            }
            error.rethrow()
        })
        .execute();
    let job = waited?;
    match job.status {
        JobStatus::Success => Ok(()),
        JobStatus::Done => {
            warning!("job {id} left something out: {}", job.message);
            Ok(())
        }
        JobStatus::Canceled => Err(Report::new(
            PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
            format!("job {id} was canceled"),
        )),
        _ => {
            let (code, message) = trouble::from_line(&job.message);
            Err(Report::new(code, message)
                .detail(format!("The statement ran as job {id} on every node."))
                .hint("Look at shardman.cmd_log."))
        }
    }
}
