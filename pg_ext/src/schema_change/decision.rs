//! The end of a transaction that changes the schema.
//!
//! PRE_COMMIT, when all others have prepared and the commit gate is passed: the
//! entry is appended. Of a complete entry the answer is the decision; from there
//! to the local commit nothing may interrupt. An intent is decided by the local
//! commit; COMMIT and ABORT tell the log, and if that message is lost the queue
//! of this node finds out.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::c_void;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use cluster::metadata::{
    DdlAnswer, DdlCommand, DdlEntry, DdlRefusal, EntryKind, MetadataCommand, Outcome, Refusal,
    TokenId,
};
use pgrx::PgTryBuilder;
use pgrx::prelude::*;
use raft::{RaftError, Request, Response};

use super::transaction::{self, Change, Phase};
use super::{other_work, tell, token};
use crate::membership::my_identity;
use crate::report::Report;
use crate::worker;

/// How long to ask again for an answer that was lost.
const PATIENCE: Duration = Duration::from_secs(60);

thread_local! {
    static HOLDS_INTERRUPTS: Cell<bool> = const { Cell::new(false) };
}

/// Registers the callbacks. They must be registered before those of the gate
/// and of `fdw`: callbacks run in reverse order, and nothing may fail after the
/// log has accepted.
pub fn init() {
    // SAFETY: plain functions that live as long as the process.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_transaction), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_subtransaction), std::ptr::null_mut());
    }
}

/// The token under which the running transaction's parts are to be prepared.
pub fn prepared_under() -> Option<TokenId> {
    transaction::with(|change| change.has_steps().then_some(change.token)).flatten()
}

/// Whether a transaction that is being rolled back may take its prepared parts
/// along. Not if the log may have accepted it: then each node's queue finishes
/// its part as the log says. Raises nothing.
pub fn may_roll_back_prepared() -> bool {
    transaction::with(|change| change.phase != Phase::Asked).unwrap_or(true)
}

/// A plain-old frame.
unsafe extern "C-unwind" fn at_transaction(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PRE_COMMIT};
    match event {
        XACT_EVENT_PRE_COMMIT if prepared_under().is_some() => {
            // SAFETY: PRE_COMMIT may raise, and this frame has nothing to drop.
            unsafe { fdw::callback(|| Ok(decide()?)) }
        }
        XACT_EVENT_COMMIT | XACT_EVENT_ABORT => {
            let is_committed = event == XACT_EVENT_COMMIT;
            if HOLDS_INTERRUPTS.replace(false) && is_committed {
                // SAFETY: the count that `decide` has raised; an error would
                // have reset it.
                unsafe { pg_sys::InterruptHoldoffCount -= 1 };
            }
            if let Some(change) = transaction::end() {
                token::want_nothing();
                let _ = fdw::quietly(|| {
                    settle(&change, is_committed);
                    Ok(())
                });
            }
        }
        _ => {}
    }
}

/// A plain-old frame.
unsafe extern "C-unwind" fn at_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    aborted: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _: *mut c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        transaction::subtransaction_aborted(aborted);
    }
}

/// Appends what was done and waits for the answer.
fn decide() -> Result<(), Report> {
    let kind = if other_work::is_done() { EntryKind::Intent } else { EntryKind::Complete };
    let asked = match kind {
        EntryKind::Complete => Phase::Asked,
        EntryKind::Intent => Phase::Intended,
    };
    let entry = transaction::with(|change| {
        change.phase = asked;
        DdlEntry::new(change.token, kind, tell::transaction_start(), change.steps())
    });
    let Some(entry) = entry else { return Ok(()) };
    let request = Request::Propose(MetadataCommand::Ddl(DdlCommand::Append(entry)));
    // An interrupt ends the wait, not what is waited for.
    PgTryBuilder::new(AssertUnwindSafe(|| append(&request, kind)))
        .catch_when(PgSqlErrorCode::ERRCODE_QUERY_CANCELED, |_| {
            Err(outcome_unknown("The wait for the metadata log was interrupted."))
        })
        .execute()?;
    if kind == EntryKind::Complete {
        HOLDS_INTERRUPTS.set(true);
        // SAFETY: as HOLD_INTERRUPTS() does; COMMIT takes it back.
        unsafe { pg_sys::InterruptHoldoffCount += 1 };
    }
    Ok(())
}

fn append(request: &Request, kind: EntryKind) -> Result<(), Report> {
    let deadline = Instant::now() + PATIENCE;
    let mut may_be_in = false;
    loop {
        let error = match worker::try_ask(request) {
            Ok(Ok(Response::Proposed { outcome, .. })) => match outcome {
                Outcome::Ddl(DdlAnswer::Accepted { .. }) => return Ok(()),
                Outcome::Refused(Refusal::Ddl(refusal)) => {
                    // Nothing is and nothing will be in the log.
                    transaction::with(|change| change.phase = Phase::Working);
                    return Err(refused(refusal));
                }
                other => return Err(token::unexpected(format!("{other:?}"))),
            },
            Ok(Ok(other)) => return Err(token::unexpected(format!("{other:?}"))),
            Ok(Err(error)) => {
                may_be_in |= matches!(error, RaftError::OutcomeUnknown);
                token::no_majority(error)
            }
            // The worker is being started anew; what it did is not known.
            Err(report) => {
                may_be_in = true;
                report
            }
        };
        if !may_be_in {
            // Nothing was appended, and nothing will be.
            transaction::with(|change| change.phase = Phase::Working);
            return Err(error);
        }
        if Instant::now() > deadline {
            return match kind {
                EntryKind::Complete => Err(outcome_unknown(&error.message)),
                EntryKind::Intent => Err(error),
            };
        }
    }
}

fn refused(refusal: DdlRefusal) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        "the schema change was refused by the metadata log",
    )
    .detail(format!("Reason: {refusal}."))
    .hint("This node could not renew its right in time. Retry the transaction.")
}

fn outcome_unknown(why: &str) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN,
        "the outcome of the schema change is not known",
    )
    .detail(why)
    .hint("It will be on every node or on none. Look before you try again.")
}

/// Tells the log that the transaction is over. What cannot be sent now, the
/// keeper of the token and this node's queue find out by themselves.
fn settle(change: &Change, is_committed: bool) {
    let command = match change.phase {
        Phase::Working => DdlCommand::GiveUpToken { token: change.token },
        // Accepted, the entry has ended the token; otherwise nobody wants it.
        Phase::Asked => return,
        Phase::Intended => {
            let Ok(identity) = my_identity() else { return };
            DdlCommand::Settle { token: change.token, by: identity.node_id, is_committed }
        }
    };
    worker::tell(&Request::Propose(MetadataCommand::Ddl(command)));
}
