//! The end of a distributed transaction.
//!
//! PRE_COMMIT: readers commit, and those that only returned rows are not waited
//! for: no outcome of their COMMIT changes anything here, and the next request
//! to that session queues up behind it. A single writer without local writes
//! commits in one phase; otherwise all writers PREPARE in parallel. The local
//! commit record decides. COMMIT: the second phase, bounded, failures only warned of;
//! with it the COMMITs of nodes where rows were locked and nothing written, so that
//! the locks outlast what they protect.
//! ABORT: cancel, roll back, discard what does not answer.
#![allow(unsafe_code)]

use std::rc::Rc;
use std::time::{Duration, Instant};

use cluster::txn::SECOND_PHASE_TIMEOUT;
use pgrx::pg_sys;

use super::exchange::{collect, collect_until};
use super::registry::participants;
use super::session::Ending;
use super::slot::Slot;
use super::subtransaction::quiesce;
use crate::backend::quote_literal;
use crate::cluster_map::{self, Ended, PreparedParticipant};
use crate::error::{Error, Report, SqlState, emit};

/// The one participant's COMMIT: past this its outcome is unknown.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(60);
/// ROLLBACK: past this the connection is discarded.
const ABORT_TIMEOUT: Duration = Duration::from_secs(10);
/// A row chunk that is on its way gets this long before it is cancelled.
const ABORT_GRACE: Duration = Duration::from_millis(50);

/// PRE_COMMIT. May raise.
pub fn before_commit() -> Result<(), Error> {
    // SAFETY: the backend's own variable on its main thread.
    let isolation = unsafe { pg_sys::XactIsoLevel } as u32;
    let (mut writers, mut lockers, mut readers) = (Vec::new(), Vec::new(), Vec::new());
    for slot in participants() {
        let mut session = slot.lease()?;
        session.check_usable()?;
        if session.wrote {
            drop(session);
            writers.push(slot);
            continue;
        }
        if session.connection.is_busy() {
            // The answer to a command that nobody waits for may have come.
            session.connection.receive();
        }
        if isolation != pg_sys::XACT_SERIALIZABLE && session.may_commit_unheard() {
            session.commit_unheard()?;
        } else if isolation != pg_sys::XACT_SERIALIZABLE && session.may_commit_late() {
            drop(session);
            lockers.push(slot);
        } else {
            drop(session);
            readers.push(slot);
        }
    }
    // SAFETY: guarded; reads the backend's transaction state.
    let wrote_here = unsafe { pg_sys::GetTopTransactionIdIfAny() } != pg_sys::InvalidTransactionId;
    if writers.is_empty() && !wrote_here {
        readers.append(&mut lockers);
    }
    for slot in lockers {
        let mut session = slot.lease()?;
        // Ended from over there, it has lost its locks.
        session.connection.check_alive();
        session.check_usable()?;
        session.ending = Ending::Late;
    }
    let reader_commits = send_to_all(&readers, |_| "COMMIT".to_string())?;
    if isolation == pg_sys::XACT_SERIALIZABLE {
        // A reader's COMMIT may still fail there, and nothing is decided yet.
        finish_readers(reader_commits)?;
        end_of_writers(&writers, wrote_here)
    } else if let ([only], false) = (&writers[..], wrote_here) {
        commit_in_one_phase(only)?;
        // It is committed: from here on nothing may fail, nor be cancelled.
        let_readers_end(reader_commits)
    } else {
        let ended = end_of_writers(&writers, wrote_here);
        ended.and(finish_readers(reader_commits))
    }
}

fn end_of_writers(writers: &[Rc<Slot>], wrote_here: bool) -> Result<(), Error> {
    match writers {
        [] => Ok(()),
        [only] if !wrote_here => commit_in_one_phase(only),
        _ => prepare(writers),
    }
}

type Sent = Vec<(Rc<Slot>, u64, String)>;

fn send_to_all(slots: &[Rc<Slot>], sql: impl Fn(usize) -> String) -> Result<Sent, Error> {
    let mut sent = Vec::with_capacity(slots.len());
    for (i, slot) in slots.iter().enumerate() {
        let sql = sql(i);
        let ticket = slot.lease()?.simple(&sql)?;
        sent.push((slot.clone(), ticket, sql));
    }
    Ok(sent)
}

fn finish_readers(sent: Sent) -> Result<(), Error> {
    for (slot, ticket, sql) in sent {
        let tag = collect(&slot, ticket, sql.as_str())?.tag;
        let mut session = slot.lease()?;
        if tag.as_deref() != Some("COMMIT") {
            return Err(not_ended(&session.name, &sql));
        }
        session.forget_transaction();
    }
    Ok(())
}

/// Waits for the COMMIT of readers, deaf to interrupts. A failure is shown as a
/// warning and costs the session.
fn let_readers_end(sent: Sent) -> Result<(), Error> {
    let deadline = Instant::now() + SECOND_PHASE_TIMEOUT;
    for (slot, ticket, sql) in sent {
        let outcome = collect_until(&slot, ticket, &sql, deadline);
        let mut session = slot.lease()?;
        session.forget_failed_transaction();
        if let Err(error) = outcome {
            session.discard();
            emit(&Report::from(error).as_warning());
        }
    }
    Ok(())
}

fn commit_in_one_phase(slot: &Rc<Slot>) -> Result<(), Error> {
    let sql = "COMMIT";
    let ticket = slot.lease()?.simple(sql)?;
    let deadline = Instant::now() + COMMIT_TIMEOUT;
    let reply = collect_until(slot, ticket, sql, deadline).map_err(|e| match e {
        Error::ConnectionLost { node, reason } => Error::OutcomeUnknown { node, reason },
        other => other,
    })?;
    let mut session = slot.lease()?;
    if reply.tag.as_deref() != Some("COMMIT") {
        return Err(not_ended(&session.name, sql));
    }
    cluster_map::note_end(Ended::OnePhase);
    session.forget_transaction();
    Ok(())
}

fn prepare(writers: &[Rc<Slot>]) -> Result<(), Error> {
    // SAFETY: guarded; assigns an xid if there is none, which PRE_COMMIT allows.
    let xid = unsafe { pg_sys::GetTopFullTransactionId() }.value;
    let mut nodes = Vec::with_capacity(writers.len());
    for slot in writers {
        nodes.push(slot.lease()?.node);
    }
    let gid = |n: usize| match cluster_map::map() {
        Some(map) => map.gid(xid, n as u32, &nodes),
        // SAFETY: reads the process id.
        None => format!("sc_0_{xid}_{n}_{}", unsafe { pg_sys::MyProcPid }),
    };
    let mut prepared = Vec::with_capacity(writers.len());
    for (n, slot) in writers.iter().enumerate() {
        let session = slot.lease()?;
        let name = session.name.to_string();
        prepared.push(PreparedParticipant { node: session.node, name, gid: gid(n) });
    }
    if let Some(map) = cluster_map::map() {
        map.record_decision(&prepared)?;
    }
    // SAFETY: guarded; sets a flag. The decision must be durable before the
    // participants commit, also with synchronous_commit = off.
    unsafe { pg_sys::ForceSyncCommit() };
    let command = |n: usize| format!("PREPARE TRANSACTION {}", quote_literal(&prepared[n].gid));
    let mut sent = Vec::with_capacity(writers.len());
    for (n, slot) in writers.iter().enumerate() {
        let sql = command(n);
        let mut session = slot.lease()?;
        session.ending = Ending::PrepareSent(prepared[n].gid.clone());
        let ticket = session.simple(&sql)?;
        sent.push((ticket, sql));
    }
    for ((slot, (ticket, sql)), participant) in writers.iter().zip(sent).zip(&prepared) {
        let outcome = collect(slot, ticket, sql.as_str());
        let mut session = slot.lease()?;
        match outcome {
            Ok(reply) if reply.tag.as_deref() == Some("PREPARE TRANSACTION") => {
                session.ending = Ending::Prepared(participant.gid.clone());
            }
            // The transaction over there has been rolled back.
            Ok(_) => {
                session.ending = Ending::None;
                return Err(not_ended(&session.name, &sql));
            }
            Err(e @ Error::Remote { .. }) => {
                session.ending = Ending::None;
                return Err(e);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn not_ended(node: &str, sql: &str) -> Error {
    let command = sql.split_whitespace().next().unwrap_or(sql);
    crate::error::Refusal::new(
        SqlState::parse("40000").unwrap_or(SqlState::INTERNAL),
        format!("the transaction on node \"{node}\" was rolled back at {command}"),
    )
    .into()
}

/// COMMIT. Must not raise; the local commit has been decided.
pub fn after_commit() -> Result<(), Error> {
    let deadline = Instant::now() + SECOND_PHASE_TIMEOUT;
    let mut sent = Vec::new();
    let mut left = Vec::new();
    let mut late = Vec::new();
    for slot in participants() {
        let mut session = slot.lease()?;
        if session.ending == Ending::Late {
            match session.simple("COMMIT") {
                Ok(ticket) => late.push((slot.clone(), ticket)),
                Err(_) => session.discard(),
            }
            continue;
        }
        let Ending::Prepared(gid) = session.ending.clone() else {
            // Begun after PRE_COMMIT: too late to take part.
            session.discard();
            continue;
        };
        let sql = format!("COMMIT PREPARED {}", quote_literal(&gid));
        match session.simple(&sql) {
            Ok(ticket) => {
                drop(session);
                sent.push((slot, ticket, sql, gid));
            }
            Err(e) => {
                session.forget_failed_transaction();
                left.push((session.name.clone(), session.node, gid, e));
            }
        }
    }
    if !sent.is_empty() {
        cluster_map::note_end(Ended::TwoPhase);
    }
    for (slot, ticket, sql, gid) in sent {
        let outcome = collect_until(&slot, ticket, &sql, deadline);
        let mut session = slot.lease()?;
        session.forget_transaction();
        match outcome {
            Ok(_) => {}
            // Recovery was faster.
            Err(Error::Remote { error, .. }) if is_finished_by_others(error.sqlstate) => {}
            Err(e) => left.push((session.name.clone(), session.node, gid, e)),
        }
        if session.connection.lost().is_some() {
            session.discard();
        }
    }
    for (slot, ticket) in late {
        // Nothing was written there; if the session is lost, so are its locks.
        let is_over = collect_until(&slot, ticket, "COMMIT", deadline).is_ok();
        let mut session = slot.lease()?;
        session.forget_failed_transaction();
        if !is_over {
            session.discard();
        }
    }
    // The client is answered when its writes are seen everywhere, or when who
    // looks for them knows that they are in doubt.
    let is_recovered = left.iter().any(|(_, node, ..)| node.is_some())
        && cluster_map::map().is_some_and(|map| map.leave_to_recovery(deadline));
    for (name, node, gid, e) in left {
        if node.is_none() || !is_recovered {
            left_in_doubt(&name, &gid, e);
        }
    }
    Ok(())
}

/// Recovery, or a node's own queue, was faster or is at it.
fn is_finished_by_others(answer: Option<SqlState>) -> bool {
    ["42704", "55000"].into_iter().any(|code| answer == SqlState::parse(code))
}

fn left_in_doubt(node: &str, gid: &str, error: Error) {
    let message =
        format!("transaction \"{gid}\" is committed but still prepared on node \"{node}\"");
    let mut report = Report::warning(SqlState::TRANSACTION_RESOLUTION_UNKNOWN, message)
        .with_hint("Recovery finishes it; until then its rows stay locked and unseen there.");
    if let Error::ConnectionLost { reason, .. } = error {
        report = report.with_detail(reason);
    } else if let Error::Remote { error, .. } = error {
        report = report.with_detail(error.message);
    }
    emit(&report);
}

/// ABORT. Must not raise.
pub fn after_abort() -> Result<(), Error> {
    let mut sent = Vec::new();
    // All sessions together: the first one's grace is the others' too.
    let patience = Instant::now() + ABORT_GRACE;
    let participants = participants();
    if !participants.is_empty() {
        cluster_map::note_end(Ended::Aborted);
    }
    let may_roll_back = cluster_map::map().is_none_or(|map| map.may_roll_back_prepared());
    for slot in participants {
        quiesce(&slot, patience, None)?;
        let mut session = slot.lease()?;
        session.connection.take_detached_failure();
        if !may_roll_back && matches!(session.ending, Ending::Prepared(_)) {
            session.forget_failed_transaction();
            continue;
        }
        // A PREPARE whose answer was not waited for has been answered by now,
        // unless the session is lost.
        let sql = match session.ending.clone() {
            Ending::None | Ending::Late => "ROLLBACK".to_string(),
            Ending::Prepared(gid) => format!("ROLLBACK PREPARED {}", quote_literal(&gid)),
            // Prepared or rolled back: the first command is right for the one,
            // the second for the other, and the wrong one is harmless.
            Ending::PrepareSent(gid) => {
                session.simple_detached("ROLLBACK").ok();
                format!("ROLLBACK PREPARED {}", quote_literal(&gid))
            }
        };
        if let (Some(reason), Ending::PrepareSent(gid) | Ending::Prepared(gid)) =
            (session.connection.lost(), &session.ending)
        {
            let message = format!(
                "transaction \"{gid}\" may still be prepared on node \"{}\" and is to be rolled back",
                session.name
            );
            emit(
                &Report::warning(SqlState::TRANSACTION_RESOLUTION_UNKNOWN, message)
                    .with_detail(reason.to_string()),
            );
        }
        if session.connection.lost().is_some() {
            session.discard();
            continue;
        }
        match session.simple(&sql) {
            Ok(ticket) => {
                drop(session);
                sent.push((slot, ticket, sql));
            }
            Err(_) => session.discard(),
        }
    }
    let deadline = Instant::now() + ABORT_TIMEOUT;
    for (slot, ticket, sql) in sent {
        let outcome = collect_until(&slot, ticket, &sql, deadline);
        let mut session = slot.lease()?;
        session.connection.take_notices();
        session.forget_failed_transaction();
        // A failed ROLLBACK PREPARED of an unknown gid (42704) is as it should be.
        let unknown_gid = matches!(&outcome, Err(Error::Remote { error, .. })
            if error.sqlstate == SqlState::parse("42704"));
        if outcome.is_err() && !unknown_gid {
            session.discard();
        }
    }
    Ok(())
}
