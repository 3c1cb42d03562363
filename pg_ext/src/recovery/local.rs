//! What this node knows by itself.
#![allow(unsafe_code)]

use cluster::txn::{CoordinatorState, LocalOutcome, TransactionName, local_outcome};
use pgrx::prelude::*;
use raft::{RaftState, Request, Response};

use super::life::{is_remembered, present_life};
use crate::report::Report;
use crate::schema_change;
use crate::worker;

/// What became of a transaction that this node coordinates.
pub fn outcome_here(transaction: TransactionName) -> Result<LocalOutcome, Report> {
    if let Some(outcome) = outcome_of_unrecognised()? {
        return Ok(outcome);
    }
    let life = present_life();
    let remembers_life = transaction.life == life
        || is_remembered(transaction.life).map_err(|error| {
            Report::new(PgSqlErrorCode::ERRCODE_IO_ERROR, "could not read this server's lives")
                .detail(error.to_string())
        })?;
    // SAFETY: both read shared memory. An id that is older than the running
    // ones of its epoch is over, whatever its low 32 bits stand for now.
    let (next_xid, is_running) = unsafe {
        let next = pg_sys::ReadNextFullTransactionId().value;
        let is_recent = next.saturating_sub(transaction.xid) < u64::from(u32::MAX / 2);
        let low = pg_sys::TransactionId::from(transaction.xid as u32);
        (next, is_recent && pg_sys::TransactionIdIsInProgress(low))
    };
    let state = CoordinatorState { life, remembers_life, next_xid, is_running };
    Ok(local_outcome(transaction, state))
}

/// What to say while the cluster has not recognised this data directory: an old
/// copy does not know how its transactions ended.
fn outcome_of_unrecognised() -> Result<Option<LocalOutcome>, Report> {
    if schema_change::is_confirmed() {
        return Ok(None);
    }
    Ok(match worker::try_ask(&Request::Status)? {
        Ok(Response::Status(status)) => match status.state {
            RaftState::Barred(_) => Some(LocalOutcome::Unknown),
            RaftState::Unrecognised => Some(LocalOutcome::InProgress),
            _ => None,
        },
        _ => Some(LocalOutcome::InProgress),
    })
}
