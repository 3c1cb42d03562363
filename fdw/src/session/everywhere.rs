//! Several nodes' sessions driven together, for what begins a transaction on
//! all of them: each command goes to all, then all are waited for.

use std::rc::Rc;
use std::time::{Duration, Instant};

use cluster::NodeId;

use super::exchange::collect_until;
use super::{Slot, Target, acquire, collect, registry};
use crate::error::Error;
use crate::transport::Ticket;

/// The bound of a ROLLBACK of remote transactions that did nothing.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(10);

/// The sessions with some nodes, in the remote transactions that scans and
/// modifications will use.
pub struct Everywhere {
    slots: Vec<Rc<Slot>>,
}

/// A command that was sent to all of them.
#[must_use]
pub struct Sent<'a> {
    slots: &'a [Rc<Slot>],
    sql: &'a str,
    tickets: Vec<Ticket>,
}

impl Everywhere {
    /// Opens the sessions that are missing, all at the same time. An error names
    /// the first node that cannot be reached.
    pub fn open(nodes: &[NodeId]) -> Result<Everywhere, Error> {
        let targets: Vec<Target> = nodes.iter().map(|n| Target::Node(*n)).collect();
        registry::open_all(&targets)?;
        let slots = targets.into_iter().map(acquire).collect::<Result<_, _>>()?;
        Ok(Everywhere { slots })
    }

    /// Sends commands that do not make their node a writer. The remote
    /// transactions begin with the first.
    pub fn send<'a>(&'a self, sql: &'a str) -> Result<Sent<'a>, Error> {
        let mut tickets = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            tickets.push(slot.enter()?.simple(sql)?);
        }
        Ok(Sent { slots: &self.slots, sql, tickets })
    }

    /// The same without an answer.
    pub fn tell(&self, sql: &str) -> Result<(), Error> {
        for slot in &self.slots {
            let mut session = slot.lease()?;
            session.simple_detached(sql)?;
            session.connection.flush();
        }
        Ok(())
    }

    /// Rolls the remote transactions back, as if they had not begun.
    pub fn roll_back(&self) -> Result<(), Error> {
        let mut sent = Vec::new();
        for slot in &self.slots {
            let mut session = slot.lease()?;
            if session.depth > 0 {
                sent.push((slot, session.simple("ROLLBACK")?));
            }
        }
        let deadline = Instant::now() + ROLLBACK_TIMEOUT;
        for (slot, ticket) in sent {
            let outcome = collect_until(slot, ticket, "ROLLBACK", deadline);
            slot.lease()?.forget_transaction();
            outcome?;
        }
        Ok(())
    }
}

impl Sent<'_> {
    /// Waits for all answers, heeding interrupts. The first error, if there is
    /// one, once all have answered.
    pub fn collect(self) -> Result<(), Error> {
        let mut first = Ok(());
        for (slot, ticket) in self.slots.iter().zip(self.tickets) {
            let outcome = collect(slot, ticket, self.sql).map(drop);
            first = first.and(outcome);
        }
        first
    }
}
