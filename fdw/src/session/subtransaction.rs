//! Savepoints, mirrored.
#![allow(unsafe_code)]

use std::rc::Rc;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use super::exchange::collect_until;
use super::registry::participants;
use super::slot::Slot;
use crate::error::Error;
use crate::transport::{Interrupts, Ticket, request_cancel};

/// How long a session that may only be sending rows gets to finish.
const GRACE: Duration = Duration::from_millis(200);
/// How long the cancel request itself may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a cancelled or rolled-back session may take to answer.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(10);

/// Before a local subtransaction is merged into its parent: RELEASE goes with
/// the next request, or with COMMIT, and fails there if it fails.
pub fn before_release() -> Result<(), Error> {
    // SAFETY: guarded; reads the backend's transaction state.
    let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
    for slot in participants() {
        let mut session = slot.lease()?;
        if session.depth >= level {
            session.check_usable()?;
            session.ride(&format!("RELEASE SAVEPOINT s{level}"))?;
            session.depth = level - 1;
        }
    }
    Ok(())
}

/// After a local subtransaction was rolled back. A session that cannot follow
/// is given up, which fails the whole transaction at its next use or commit.
pub fn after_abort() -> Result<(), Error> {
    // SAFETY: guarded; reads the backend's transaction state.
    let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
    let mut sent = Vec::new();
    let patience = Instant::now() + GRACE;
    for slot in participants() {
        let savepoint = {
            let session = slot.lease()?;
            if session.depth < level {
                continue;
            }
            session.savepoint(level)
        };
        quiesce(&slot, patience, savepoint)?;
        let mut session = slot.lease()?;
        session.depth = level - 1;
        session.told = None;
        // Failures of commands inside the savepoint are undone with it.
        session.connection.take_detached_failure();
        session.connection.forget_abort_reason();
        if session.connection.lost().is_some() {
            continue;
        }
        let sql = format!("ROLLBACK TO SAVEPOINT s{level}; RELEASE SAVEPOINT s{level}");
        let ticket = session.simple(&sql)?;
        drop(session);
        sent.push((slot, ticket, sql));
    }
    let deadline = Instant::now() + ROLLBACK_TIMEOUT;
    for (slot, ticket, sql) in sent {
        if let Err(e @ Error::Remote { .. }) = collect_until(&slot, ticket, &sql, deadline) {
            let reason = "its savepoint could not be rolled back";
            slot.lease()?.connection.give_up(reason);
            return Err(e);
        }
    }
    Ok(())
}

/// Waits, bounded and deaf to interrupts, until a session owes no reply;
/// cancels what it runs if a wait for it was interrupted or patience is over.
/// A session that still does not answer is given up. Requests before `outer`
/// are not to be cancelled: they have as long as a rollback has, and patience
/// starts anew after them.
pub fn quiesce(slot: &Rc<Slot>, patience: Instant, outer: Option<Ticket>) -> Result<(), Error> {
    let mut session = slot.lease()?;
    if !session.connection.is_busy() || session.connection.lost().is_some() {
        return Ok(());
    }
    let interrupted = std::mem::take(&mut session.interrupted);
    let patience = if interrupted { Instant::now() } else { patience };
    let connection = &mut session.connection;
    let mut patience = patience;
    if let Some(outer) = outer
        && !interrupted
    {
        let deadline = Instant::now() + ROLLBACK_TIMEOUT;
        // Its failure shows in the next wait.
        let _ = connection.wait_for_all_before(outer, Some(deadline), Interrupts::Ignore);
        patience = patience.max(Instant::now() + GRACE);
    }
    if connection.wait_idle(Some(patience), Interrupts::Ignore).is_ok() {
        return Ok(());
    }
    let (address, process_id, key) = connection.cancel_key();
    request_cancel(&address, process_id, key, Instant::now() + CANCEL_TIMEOUT);
    let deadline = Instant::now() + ROLLBACK_TIMEOUT;
    if connection.wait_idle(Some(deadline), Interrupts::Ignore).is_err() {
        connection.give_up("it did not answer a cancel request in time");
    }
    Ok(())
}
