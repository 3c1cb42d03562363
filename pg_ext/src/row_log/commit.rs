//! The end of a transaction that wrote tables with logs.
//!
//! Its changes are appended as the last thing before the local commit. If it did
//! nothing else, the log's answer decides: from there on interrupts are held and
//! nothing may fail. It commits here when all entries before its own are
//! applied; without waiting for its WAL, since the log is on disk at a majority,
//! and after a crash brings the change about again. Otherwise the local commit
//! decides, and tells the log.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cluster::metadata::{MetadataCommand, Outcome, Refusal};
use cluster::row_log::{
    RowEntry, RowEntryKind, RowLogAnswer, RowLogCommand, RowLogId, RowLogPosition,
};
use cluster::txn::TransactionName;
use pgrx::PgTryBuilder;
use pgrx::prelude::*;
use raft::{RaftError, Request, Response};

use super::refusal::{no_majority, refused, unexpected};
use super::{buffer, memory, other_work, position};
use crate::membership::my_identity;
use crate::recovery::present_life;
use crate::report::Report;
use crate::shared_memory::my_place;
use crate::worker;

/// How long to ask again for an answer that was lost, and how long to wait for
/// the entries before this one.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was asked of the log.
struct Asked {
    transaction: TransactionName,
    kind: RowEntryKind,
    /// Once it was accepted.
    positions: Vec<(RowLogId, RowLogPosition)>,
}

thread_local! {
    static ASKED: RefCell<Option<Asked>> = const { RefCell::new(None) };
    static HOLDS_INTERRUPTS: Cell<bool> = const { Cell::new(false) };
    /// The setting that this transaction had before.
    static SYNCHRONOUS_COMMIT: Cell<Option<i32>> = const { Cell::new(None) };
}

/// Registers the callbacks. Before all others that may fail or that end parts of
/// the transaction elsewhere: callbacks run in reverse order.
pub fn init() {
    // SAFETY: plain functions that live as long as the process.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_transaction), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_subtransaction), std::ptr::null_mut());
    }
}

/// A plain-old frame.
unsafe extern "C-unwind" fn at_transaction(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    use pg_sys::XactEvent::*;
    match event {
        XACT_EVENT_PRE_COMMIT if !buffer::is_empty() => {
            // SAFETY: PRE_COMMIT may raise, and this frame has nothing to drop.
            unsafe { fdw::callback(|| Ok(decide()?)) }
        }
        XACT_EVENT_PRE_PREPARE if !buffer::is_empty() => {
            // SAFETY: as above.
            unsafe { fdw::callback(|| Err(not_prepared().into())) }
        }
        XACT_EVENT_COMMIT | XACT_EVENT_ABORT => {
            let is_committed = event == XACT_EVENT_COMMIT;
            if HOLDS_INTERRUPTS.replace(false) && is_committed {
                // SAFETY: the count that `decide` has raised; an error would have
                // reset it.
                unsafe { pg_sys::InterruptHoldoffCount -= 1 };
            }
            if let Some(before) = SYNCHRONOUS_COMMIT.take() {
                // SAFETY: the backend's own variable.
                unsafe { pg_sys::synchronous_commit = before };
            }
            if let Some(place) = my_place() {
                place.asked_log.store(0, Ordering::Release);
            }
            let asked = ASKED.try_with(|asked| asked.try_borrow_mut().ok()?.take());
            if let Some(asked) = asked.ok().flatten() {
                let _ = fdw::quietly(|| {
                    end(&asked, is_committed);
                    Ok(())
                });
            }
            buffer::forget();
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
        buffer::roll_back_to(aborted);
    }
}

fn not_prepared() -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "cannot PREPARE a transaction that has written a table with a log",
    )
    .hint("Use COMMIT: it is atomic on all nodes.")
}

/// Tells other processes of this node what is committed, and the log how an
/// intent ended. What cannot be sent now the applier of the log finds out.
fn end(asked: &Asked, is_committed: bool) {
    if is_committed {
        for (log, position) in &asked.positions {
            memory::advance(*log, *position);
        }
    }
    if asked.kind == RowEntryKind::Intent {
        let (transaction, by) = (asked.transaction, asked.transaction.coordinator);
        let settle = RowLogCommand::Settle { transaction, by, is_committed };
        worker::tell(&Request::Propose(MetadataCommand::RowLog(settle)));
    }
}

/// Appends what was done, waits for the answer, and for this transaction's turn.
fn decide() -> Result<(), Report> {
    let is_mixed = other_work::is_done();
    let kind = if is_mixed { RowEntryKind::Intent } else { RowEntryKind::Complete };
    let transaction = TransactionName {
        coordinator: my_identity()?.node_id,
        life: present_life(),
        // SAFETY: it has written rows; guarded.
        xid: unsafe { pg_sys::GetTopFullTransactionId() }.value,
    };
    let entry = RowEntry { transaction, kind, parts: buffer::parts() };
    ASKED.set(Some(Asked { transaction, kind, positions: Vec::new() }));
    if let Some(place) = my_place() {
        place.asked_log.store(1, Ordering::Release);
    }
    let request = Request::Propose(MetadataCommand::RowLog(RowLogCommand::Append(entry)));
    // An interrupt ends the wait, not what is waited for.
    let positions = PgTryBuilder::new(AssertUnwindSafe(|| append(&request, kind)))
        .catch_when(PgSqlErrorCode::ERRCODE_QUERY_CANCELED, |error| match kind {
            RowEntryKind::Complete => {
                Err(outcome_unknown("The wait for the log's answer was interrupted."))
            }
            RowEntryKind::Intent => error.rethrow(),
        })
        .execute()?;
    ASKED.with_borrow_mut(|asked| {
        if let Some(asked) = asked {
            asked.positions.clone_from(&positions);
        }
    });
    if kind == RowEntryKind::Intent {
        return take_turn(&positions);
    }
    HOLDS_INTERRUPTS.set(true);
    // SAFETY: as HOLD_INTERRUPTS() does; COMMIT takes it back.
    unsafe { pg_sys::InterruptHoldoffCount += 1 };
    PgTryBuilder::new(AssertUnwindSafe(|| take_turn(&positions)))
        .catch_others(|_| Err(not_here("This node could not enter it.")))
        .execute()
        .map_err(|report| not_here(&report.message))?;
    // SAFETY: the backend's own variable, put back at the transaction's end.
    unsafe {
        SYNCHRONOUS_COMMIT.set(Some(pg_sys::synchronous_commit));
        pg_sys::synchronous_commit = pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_OFF as i32;
    }
    Ok(())
}

/// Waits until all entries before this transaction's are applied here, and notes
/// that it brings its own about.
fn take_turn(positions: &[(RowLogId, RowLogPosition)]) -> Result<(), Report> {
    for (log, at) in positions {
        if !memory::wait_for(*log, at.previous(), PATIENCE) {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_CANNOT_CONNECT_NOW,
                format!(
                    "timed out while waiting for this node to apply log entry {}",
                    at.previous()
                ),
            )
            .hint("Look at shardman.logs."));
        }
    }
    positions.iter().try_for_each(|(log, at)| position::note(*log, *at))
}

fn append(
    request: &Request,
    kind: RowEntryKind,
) -> Result<Vec<(RowLogId, RowLogPosition)>, Report> {
    let deadline = Instant::now() + PATIENCE;
    let mut may_be_in = false;
    loop {
        let error = match worker::try_ask(request) {
            Ok(Ok(Response::Proposed { outcome, .. })) => match outcome {
                Outcome::RowLog(RowLogAnswer::Accepted { positions }) => return Ok(positions),
                Outcome::Refused(Refusal::RowLog(refusal)) => {
                    // Nothing is and nothing will be in the log.
                    ASKED.set(None);
                    return Err(refused(refusal));
                }
                other => return Err(unexpected(other)),
            },
            Ok(Ok(other)) => return Err(unexpected(other)),
            Ok(Err(error)) => {
                may_be_in |= matches!(error, RaftError::OutcomeUnknown);
                no_majority(error, "write a table with a log")
            }
            // The worker is being started anew; what it did is not known.
            Err(report) => {
                may_be_in = true;
                report
            }
        };
        if !may_be_in {
            // Nothing was appended, and nothing will be.
            ASKED.set(None);
            return Err(error);
        }
        if Instant::now() > deadline {
            return match kind {
                RowEntryKind::Complete => Err(outcome_unknown(&error.message)),
                RowEntryKind::Intent => Err(error),
            };
        }
        check_for_interrupts!();
    }
}

fn outcome_unknown(why: &str) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN,
        "the outcome of the transaction is not known",
    )
    .detail(why)
    .hint("It will be on every node or on none. Look before you try again.")
}

fn not_here(why: &str) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN,
        "the log has accepted the transaction, but this node has not applied it",
    )
    .detail(why)
    .hint("It is committed: this node applies it when it can. Look at shardman.logs.")
}
