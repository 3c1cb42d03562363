//! What this node knows by itself.
#![allow(unsafe_code)]

use cluster::txn::{CoordinatorState, LocalOutcome, TransactionName, local_outcome};
use pgrx::prelude::*;

use super::life::{is_remembered, present_life};
use crate::report::Report;

/// What became of a transaction that this node coordinates.
pub fn outcome_here(transaction: TransactionName) -> Result<LocalOutcome, Report> {
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
