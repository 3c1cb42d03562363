//! A statement that is the whole transaction: it runs over there as it would
//! for a client of that server, without BEGIN and COMMIT. What it must be told
//! and the statement share one Sync, which commits them, and one answer.
//!
//! For a statement that writes this is sound only if nothing after the remote
//! commit can make the local transaction fail, and if no other statement belongs
//! to it:
//! * a statement of the client itself, not of a function, with nothing that
//!   PostgreSQL would run after it (RETURNING, triggers, CTEs);
//! * no transaction block, also no implicit one of several statements in one
//!   message. In the extended protocol a transaction reaches from Sync to Sync:
//!   none may have run since the last, and the next message must be a Sync
//!   that has already come;
//! * nothing written here, no other participant.
//!
//! From then on a cancel comes too late and is held off until the local
//! transaction has ended, too: its error would deny what was committed.
//!
//! For a SELECT less is at stake: a snapshot for each statement is what READ
//! COMMITTED says, and locks that end with the statement are missed by nobody
//! if the transaction does.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;

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
        matches!((*tree).type_, NodeTag::T_ModifyTable | NodeTag::T_CustomScan)
            && writes
            && !(*plan).hasReturning
            && !(*plan).hasModifyingCTE
            && (*plan).subplans.is_null()
            && (*plan).rowMarks.is_null()
            && pg_sys::GetTopTransactionIdIfAny() == pg_sys::InvalidTransactionId
            && is_alone(plan)
    }
}

/// Whether the running statement only reads, locks no rows, and is its
/// transaction's only one.
///
/// # Safety
/// `estate` is the executor's, running.
pub unsafe fn reads_alone(estate: *mut pg_sys::EState) -> bool {
    // SAFETY: as above.
    unsafe {
        let plan = (*estate).es_plannedstmt;
        (*plan).commandType == pg_sys::CmdType::CMD_SELECT
            && !(*plan).hasModifyingCTE
            && (*plan).rowMarks.is_null()
            && is_alone(plan)
    }
}

unsafe fn is_alone(plan: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: the backend's own variables; the caller's plan.
    unsafe {
        !pg_sys::IsTransactionBlock()
            && pg_sys::GetCurrentTransactionNestLevel() == 1
            && pg_sys::XactIsoLevel as u32 == pg_sys::XACT_READ_COMMITTED
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

/// What a flight does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// It returns rows. All of them, or it is asked again in another way.
    Read,
    /// It writes: it has happened once its answer says so.
    Write,
}

impl Slot {
    /// Runs a request as a whole transaction of that node. `None` if it is to
    /// run in another way: this session has not been found to be the right node
    /// yet, or there are more rows to read than were asked for.
    pub(crate) fn run_alone(
        self: &Rc<Slot>,
        request: &Request<'_>,
        errand: Errand,
    ) -> Result<Option<Reply>, Error> {
        if self.lease()?.handshake.is_some() {
            return Ok(None);
        }
        let properties = self.properties()?;
        // SAFETY: guarded; reads the current user.
        let user = unsafe { pg_sys::GetUserId() };
        let unheard = Unheard(self);
        let ticket = {
            let mut session = self.lease()?;
            session.enter_alone(&properties)?;
            session.request(request, user.to_u32())?
        };
        let arrived = self.await_end(ticket);
        std::mem::forget(unheard);
        let (notices, name, outcome) = {
            let mut session = self.lease()?;
            let notices = session.connection.take_notices();
            let outcome = match (arrived, errand) {
                (Ok(()), _) => {
                    let reply = finish(&mut session, ticket, request.statement, Ok(()));
                    session.forget_transaction();
                    reply
                }
                (Err(reason), Errand::Read) => {
                    Err(Error::ConnectionLost { node: session.name.to_string(), reason })
                }
                (Err(reason), Errand::Write) => {
                    Err(Error::OutcomeUnknown { node: session.name.to_string(), reason })
                }
            };
            (notices, session.name.clone(), outcome)
        };
        for notice in notices {
            emit(&Report::notice(&name, notice));
        }
        match (&outcome, errand) {
            (Ok(_), Errand::Write) => {
                cluster_map::note_end(Ended::OnePhase);
                hold_off_cancel();
            }
            // The user's cancel speaks before what it did over there.
            _ => check_for_interrupts(),
        }
        Ok(outcome.map(Some)?.filter(|reply| errand == Errand::Write || !reply.suspended))
    }

    /// Waits for the answer. A cancel is passed on and the answer waited for,
    /// because only that tells whether the transaction was committed.
    fn await_end(self: &Rc<Slot>, ticket: Ticket) -> Result<(), String> {
        let gone = |e: Error| Report::from(e).message();
        let mut deadline = None;
        loop {
            let stop = {
                let mut session = self.lease().map_err(gone)?;
                let interrupts =
                    if deadline.is_some() { Interrupts::Ignore } else { Interrupts::Heed };
                match session.connection.wait_for(ticket, deadline, interrupts) {
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

/// A request that nobody would ever hear of: the session belongs to no
/// transaction that could roll it back. Dropped by an error that comes in
/// between, it gives the connection up; it does no I/O.
struct Unheard<'a>(&'a Rc<Slot>);

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        if let Ok(Some(mut session)) = self.0.try_lease() {
            session.connection.give_up("a wait for its answer was broken off");
        }
    }
}

thread_local! {
    /// Cancels are held off until the transaction's end.
    static HOLDS: Cell<bool> = const { Cell::new(false) };
}

/// What was asked for is done: a cancel that has come or will come meets a
/// statement that is over, as one does that comes after a local commit.
fn hold_off_cancel() {
    // SAFETY: what HOLD_CANCEL_INTERRUPTS does, balanced by `heed_cancel_again`,
    // or by an error, which sets the counter to zero.
    unsafe { pg_sys::QueryCancelHoldoffCount += 1 };
    HOLDS.set(true);
}

/// At the transaction's end, however it ended. Raises nothing.
pub fn heed_cancel_again(is_commit: bool) {
    if HOLDS.replace(false) && is_commit {
        // SAFETY: the backend's own variables. Statements do not hold cancels
        // off otherwise, so what is above zero is ours; no statement is running
        // that a pending cancel could be meant for.
        unsafe {
            pg_sys::QueryCancelHoldoffCount = pg_sys::QueryCancelHoldoffCount.saturating_sub(1);
            pg_sys::QueryCancelPending = 0;
        }
    }
}
