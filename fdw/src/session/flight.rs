//! A statement that is the whole transaction: BEGIN, settings, the statement
//! and COMMIT leave in one packet, so that one round trip does it all.
//!
//! Sound only if nothing after the remote COMMIT can make the local
//! transaction fail, and if no other statement belongs to it:
//! * a statement of the client itself, not of a function, with nothing that
//!   PostgreSQL would run after it (RETURNING, triggers, CTEs);
//! * no transaction block, also no implicit one of several statements in one
//!   message. In the extended protocol a transaction reaches from Sync to Sync:
//!   none may have run since the last, and the next message must be a Sync
//!   that has already come;
//! * nothing written here, no other participant.
//!
//! A statement that fails over there leaves an aborted transaction, whose
//! COMMIT is a ROLLBACK.
#![allow(unsafe_code)]

use std::rc::Rc;
use std::time::{Duration, Instant};

use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;

use super::commit::not_ended;
use super::exchange::finish;
use super::registry::participants;
use super::{Request, Slot};
use crate::backend::{cells, check_for_interrupts};
use crate::cluster_map::{self, Ended};
use crate::compat;
use crate::error::{Error, Report, emit};
use crate::transport::{Interrupts, Reply, Stop, Ticket, request_cancel};

/// A cancelled statement's answer; past this the outcome is unknown.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether the running statement is its transaction's only one and nothing
/// fails after its last row; the caller knows that it touches one relation and
/// that this relation and its parents have no triggers.
///
/// # Safety
/// `estate` is the executor's, running.
pub unsafe fn is_whole_transaction(estate: *mut pg_sys::EState) -> bool {
    // SAFETY: the backend's own variables and PostgreSQL's valid structs.
    unsafe {
        let plan = (*estate).es_plannedstmt;
        let tree = (*plan).planTree;
        // A custom scan that is the whole of a writing statement is the router's.
        let writes = (*plan).commandType != pg_sys::CmdType::CMD_SELECT;
        let is_plain = matches!((*tree).type_, NodeTag::T_ModifyTable | NodeTag::T_CustomScan)
            && writes
            && !(*plan).hasReturning
            && !(*plan).hasModifyingCTE
            && (*plan).subplans.is_null()
            && (*plan).rowMarks.is_null();
        let isolation = pg_sys::XactIsoLevel as u32;
        is_plain
            && !pg_sys::IsTransactionBlock()
            && pg_sys::GetCurrentTransactionNestLevel() == 1
            && isolation == pg_sys::XACT_READ_COMMITTED
            && pg_sys::GetTopTransactionIdIfAny() == pg_sys::InvalidTransactionId
            && is_the_clients(plan)
            && participants().is_empty()
    }
}

/// Whether the statement being started is a cursor's: its portal stays open while
/// other statements run, whose changes it is not to see.
///
/// # Safety
/// `estate` is the executor's.
pub unsafe fn is_a_cursors(estate: *mut pg_sys::EState) -> bool {
    // SAFETY: the backend's own variables; the active portal is valid.
    unsafe {
        let Some(portal) = pg_sys::ActivePortal.as_ref() else { return false };
        let plan = (*estate).es_plannedstmt;
        *portal.name != 0 && cells::<pg_sys::PlannedStmt>(portal.stmts).any(|own| own == plan)
    }
}

/// Whether `plan` is what the client sent, alone up to the next Sync.
unsafe fn is_the_clients(plan: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: the backend's own variables; the active portal is valid.
    unsafe {
        let Some(portal) = pg_sys::ActivePortal.as_ref() else { return false };
        let mut statements = cells::<pg_sys::PlannedStmt>(portal.stmts);
        if pg_sys::whereToSendOutput != pg_sys::CommandDest::DestRemote
            // A cursor, or EXECUTE, has a name.
            || *portal.name != 0
            || statements.next() != Some(plan)
            || statements.next().is_some()
            || pg_sys::MyXactFlags as u32 & pg_sys::XACT_FLAGS_PIPELINING != 0
        {
            return false;
        }
        // The portal of a simple query is not shown in pg_cursors.
        !portal.visible || compat::next_message() == Some(b'S')
    }
}

impl Slot {
    /// Runs a request as a whole transaction, if this session may; `None` if it
    /// has not been found to be the right node yet.
    pub(crate) fn send_and_commit(
        self: &Rc<Slot>,
        request: &Request<'_>,
    ) -> Result<Option<Reply>, Error> {
        if self.lease()?.handshake.is_some() {
            return Ok(None);
        }
        // SAFETY: guarded; reads the current user.
        let user = unsafe { pg_sys::GetUserId() };
        let (statement, commit) = {
            let mut session = self.enter()?;
            session.wrote = true;
            let statement = session.append(request, user.to_u32())?;
            (statement, session.simple("COMMIT")?)
        };
        let arrived = self.await_commit(commit);
        let (notices, name, outcome) = {
            let mut session = self.lease()?;
            let notices = session.connection.take_notices();
            let outcome = match arrived {
                Ok(()) => {
                    let reply = finish(&mut session, statement, &request.statement.text(), Ok(()));
                    let tag = session.take(commit).and_then(|commit| commit.tag);
                    session.forget_transaction();
                    reply.and_then(|reply| match tag.as_deref() {
                        Some("COMMIT") => Ok(reply),
                        _ => Err(not_ended(&session.name, "COMMIT")),
                    })
                }
                Err(reason) => {
                    Err(Error::OutcomeUnknown { node: session.name.to_string(), reason })
                }
            };
            (notices, session.name.clone(), outcome)
        };
        for notice in notices {
            emit(&Report::notice(&name, notice));
        }
        if outcome.is_ok() {
            cluster_map::note_end(Ended::OnePhase);
            // Too late: like a local statement that is cancelled while it commits.
            // SAFETY: the backend's own variable; nothing is cancelled by it now.
            unsafe { pg_sys::QueryCancelPending = 0 };
        } else {
            // The user's cancel speaks before what it did over there.
            check_for_interrupts();
        }
        outcome.map(Some)
    }

    /// Waits until all is answered. A cancel is passed on and the answer waited
    /// for, because only that tells whether the transaction was committed.
    fn await_commit(self: &Rc<Slot>, commit: Ticket) -> Result<(), String> {
        let gone = |e: Error| Report::from(e).message();
        let mut deadline = None;
        loop {
            let stop = {
                let mut session = self.lease().map_err(gone)?;
                let interrupts =
                    if deadline.is_some() { Interrupts::Ignore } else { Interrupts::Heed };
                match session.connection.wait_for(commit, deadline, interrupts) {
                    Ok(()) => return Ok(()),
                    Err(stop) => stop,
                }
            };
            match stop {
                Stop::Lost(reason) => return Err(reason),
                Stop::TimedOut => {
                    let reason = "the server did not answer in time";
                    self.lease().map_err(gone)?.connection.give_up(reason);
                    return Err(reason.to_string());
                }
                // SAFETY: reads of the backend's own variables.
                Stop::Interrupted
                    if unsafe { pg_sys::QueryCancelPending | pg_sys::ProcDiePending } != 0 =>
                {
                    let until = Instant::now() + CANCEL_TIMEOUT;
                    deadline = Some(until);
                    let (address, process, key) =
                        self.lease().map_err(gone)?.connection.cancel_key();
                    request_cancel(&address, process, key, until);
                }
                Stop::Interrupted => check_for_interrupts(),
            }
        }
    }
}
