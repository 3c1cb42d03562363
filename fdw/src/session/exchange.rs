//! Sending and waiting on behalf of callbacks: the only place where a session
//! waits while the user can cancel. A lease is never held across anything that
//! may raise.
#![allow(unsafe_code)]

use std::rc::Rc;
use std::time::Instant;

use pgrx::pg_sys;

use super::registry;
use super::slot::Lease;
use super::{Request, Session, Slot, Target};
use crate::backend::check_for_interrupts;
use crate::cluster_map;
use crate::error::{Error, RemoteError, Report, SqlState, emit};
use crate::transport::{Interrupts, Reply, Stop, Ticket};

impl Slot {
    /// A lease with the remote transaction entered; what was appended for that
    /// leaves with the next request.
    pub(crate) fn enter(self: &Rc<Slot>) -> Result<Lease, Error> {
        if let (Target::Node(node), Some(map)) = (self.target, cluster_map::map())
            && self.lease()?.depth == 0
        {
            map.check_isolation(node, &registry::node_participants)?;
        }
        let properties = self.properties()?;
        let mut session = self.lease()?;
        session.enter_transaction(&properties)?;
        Ok(session)
    }

    /// What the session is to be told now; empty for nothing.
    pub(super) fn properties(&self) -> Result<Rc<str>, Error> {
        match (self.target, cluster_map::map()) {
            (Target::Node(node), Some(map)) => Ok(map.opening_statement(node)?),
            _ => Ok("".into()),
        }
    }

    /// Enters the remote transaction and sends a request.
    pub(crate) fn send(self: &Rc<Slot>, request: &Request<'_>) -> Result<Ticket, Error> {
        // SAFETY: guarded; reads the current user.
        let user = unsafe { pg_sys::GetUserId() };
        self.enter()?.request(request, user.to_u32())
    }

    /// The same for a statement that writes.
    pub(crate) fn send_write(self: &Rc<Slot>, request: &Request<'_>) -> Result<Ticket, Error> {
        // SAFETY: guarded; reads the current user.
        let user = unsafe { pg_sys::GetUserId() };
        let mut session = self.enter()?;
        session.wrote = true;
        session.request(request, user.to_u32())
    }
}

/// What a reply is the reply to; as text for messages only.
pub trait ToText {
    /// SQL, shortened if it is long.
    fn text(&self) -> String;
}

impl ToText for str {
    fn text(&self) -> String {
        self.to_owned()
    }
}

/// Waits for a reply, heeding interrupts. An error in it, or in a command that
/// rode ahead of it, becomes [`Error::Remote`].
pub fn collect(
    slot: &Rc<Slot>,
    ticket: Ticket,
    command: &(impl ToText + ?Sized),
) -> Result<Reply, Error> {
    collect_within(slot, ticket, command, None)
}

/// The same up to a deadline, past which the connection is given up.
pub fn collect_within(
    slot: &Rc<Slot>,
    ticket: Ticket,
    command: &(impl ToText + ?Sized),
    deadline: Option<Instant>,
) -> Result<Reply, Error> {
    loop {
        let (outcome, notices, name) = {
            let mut session = slot.lease()?;
            let outcome = session.connection.wait_for(ticket, deadline, Interrupts::Heed);
            session.interrupted = matches!(outcome, Err(Stop::Interrupted));
            if matches!(outcome, Err(Stop::TimedOut)) {
                session.connection.give_up("the server did not answer in time");
            }
            (outcome, session.connection.take_notices(), session.name.clone())
        };
        for notice in notices {
            emit(&Report::notice(&name, notice));
        }
        match outcome {
            Err(Stop::Interrupted) => check_for_interrupts(),
            _ => return finish(&mut *slot.lease()?, ticket, command, outcome),
        }
    }
}

/// Waits for a reply up to a deadline, deaf to interrupts: for COMMIT and
/// ABORT. Past the deadline the connection is given up.
pub fn collect_until(
    slot: &Rc<Slot>,
    ticket: Ticket,
    command: &str,
    deadline: Instant,
) -> Result<Reply, Error> {
    let (notices, name, result) = {
        let mut session = slot.lease()?;
        let outcome = session.connection.wait_for(ticket, Some(deadline), Interrupts::Ignore);
        if matches!(outcome, Err(Stop::TimedOut)) {
            session.connection.give_up("the server did not answer in time");
        }
        let notices = session.connection.take_notices();
        let name = session.name.clone();
        (notices, name, finish(&mut session, ticket, command, outcome))
    };
    // Warnings of our own ROLLBACKs are no news.
    if result.is_ok() && !command.starts_with("ROLLBACK") {
        for notice in notices {
            emit(&Report::notice(&name, notice));
        }
    }
    result
}

pub(super) fn finish(
    session: &mut Session,
    ticket: Ticket,
    command: &(impl ToText + ?Sized),
    outcome: Result<(), Stop>,
) -> Result<Reply, Error> {
    let name = session.name.clone();
    let node = || name.to_string();
    if let Err(stop) = outcome {
        let reason = match stop {
            Stop::Lost(reason) => reason,
            Stop::TimedOut => "the server did not answer in time".to_string(),
            Stop::Interrupted => "the wait was interrupted".to_string(),
        };
        return Err(Error::ConnectionLost { node: node(), reason });
    }
    let is_node = session.node.is_some();
    let failed = |command: String, error: RemoteError| {
        let error = if is_node { error.of_moved_partition(&command) } else { error };
        Error::Remote { node: node(), command, error: Box::new(error) }
    };
    if let Some((command, error)) = session.connection.take_detached_failure() {
        let error = failed(command, error);
        session.take(ticket);
        session.told = None;
        return Err(error);
    }
    check_handshake(session)?;
    let Some(mut reply) = session.take(ticket) else {
        return Err(crate::error::Refusal::internal("a reply was collected twice").into());
    };
    if let Some(mut error) = reply.error.take() {
        session.told = None;
        if error.sqlstate == Some(SqlState::IN_FAILED_TRANSACTION)
            && let Some(reason) = session.connection.abort_reason()
        {
            error = reason.clone();
        }
        return Err(failed(command.text(), error));
    }
    Ok(reply)
}

fn check_handshake(session: &mut Session) -> Result<(), Error> {
    let Some(ticket) = session.handshake else { return Ok(()) };
    let Some(reply) = session.connection.take(ticket) else { return Ok(()) };
    session.handshake = None;
    let verdict = match (reply.error, session.node, cluster_map::map()) {
        (Some(error), _, _) => Err(Error::CouldNotConnect {
            node: session.name.to_string(),
            reason: String::new(),
            error: Some(Box::new(error)),
        }),
        (None, Some(node), Some(map)) => {
            let row = reply.rows.to_text().into_iter().next().unwrap_or_default();
            map.check_handshake(node, &row).map_err(Error::from)
        }
        _ => Ok(()),
    };
    if verdict.is_err() {
        session.connection.give_up("the server is not the node it should be");
    }
    verdict
}

/// Closes a portal with the session's next request, if that session and its
/// transaction are still the portal's. Does no I/O and does not fail.
pub fn forget_portal(
    slot: &Rc<Slot>,
    owner: (u64, u64),
    portal: String,
    pending: &[Option<Ticket>],
) {
    if let Ok(Some(mut session)) = slot.try_lease()
        && (session.id, session.transaction) == owner
    {
        for ticket in pending.iter().flatten() {
            session.connection.forget(*ticket);
        }
        if !portal.is_empty() {
            session.close_portal(portal);
        }
    }
}
