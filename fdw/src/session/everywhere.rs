//! Several nodes' sessions driven together, for what begins a transaction on
//! all of them: each command goes to all, then all are waited for.

use std::rc::Rc;
use std::time::{Duration, Instant};

use cluster::NodeId;

use super::exchange::collect_until;
use super::{Request, Slot, Statement, Target, acquire, collect, registry};
use crate::error::Error;
use crate::transport::Ticket;

/// The bound of a ROLLBACK of remote transactions that did nothing.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(10);

/// The sessions with some nodes, in the remote transactions that scans and
/// modifications will use.
pub struct Everywhere {
    slots: Vec<Rc<Slot>>,
}

/// A call of a function on another node, with binary or text parameters.
pub struct Call {
    statement: Statement,
    parameters: Vec<u8>,
}

impl Call {
    /// `sql` with `$1`, `$2`, …; the server infers their types. It is kept
    /// prepared.
    pub fn new(sql: &str) -> Call {
        let statement = Statement {
            sql: sql.as_bytes().into(),
            types: Rc::new([]),
            parameter_formats: Rc::new([]),
            result_formats: Rc::new([]),
            is_kept: true,
        };
        Call { statement, parameters: Vec::new() }
    }

    /// The next parameter, in its type's text form.
    pub fn text(self, value: &str) -> Call {
        self.parameter(0, value.as_bytes())
    }

    /// The next parameter, in its type's binary form.
    pub fn binary(self, value: &[u8]) -> Call {
        self.parameter(1, value)
    }

    fn parameter(mut self, format: i16, value: &[u8]) -> Call {
        let formats: Vec<i16> =
            self.statement.parameter_formats.iter().copied().chain([format]).collect();
        self.statement.types = vec![0; formats.len()].into();
        self.statement.parameter_formats = formats.into();
        self.parameters.extend_from_slice(&(value.len() as i32).to_be_bytes());
        self.parameters.extend_from_slice(value);
        self
    }
}

/// A call that was sent to all of them. What is not collected is waited for
/// where the sessions are used next.
#[must_use]
pub struct Calling {
    slots: Vec<Rc<Slot>>,
    statement: Statement,
    tickets: Vec<Ticket>,
}

impl Calling {
    /// As [`Sent::collect`].
    pub fn collect(self) -> Result<(), Error> {
        let mut first = Ok(());
        for (slot, ticket) in self.slots.iter().zip(self.tickets) {
            let outcome = collect(slot, ticket, &self.statement).map(drop);
            first = first.and(outcome);
        }
        first
    }
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

    /// Sends a call that makes each node a writer if `writes`; else its locks
    /// last as long as the transaction, no more.
    pub fn call(&self, call: Call, writes: bool) -> Result<Calling, Error> {
        let Call { statement, parameters } = call;
        let mut tickets = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let request =
                Request { statement: &statement, parameters: &parameters, portal: "", max_rows: 0 };
            tickets.push(if writes {
                slot.send_write(&request)?
            } else {
                slot.enter()?.holds = true;
                slot.send(&request)?
            });
        }
        Ok(Calling { slots: self.slots.clone(), statement, tickets })
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
            slot.lease()?.forget_failed_transaction();
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
