//! A connection of its own to any server, outside of every transaction: for
//! talking to a server that is not a member yet.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::exchange::{collect_until, collect_within};
use super::opening::{self, Login};
use super::{Slot, Target};
use crate::backend::check_for_interrupts;
use crate::error::Error;
use crate::transport::request_cancel;

/// How long a cancel request may take.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// An open connection; closed when dropped, and what it runs cancelled.
pub struct Dialog {
    slot: Rc<Slot>,
    bound: Option<Duration>,
}

impl Dialog {
    /// Logs in. Answers to cancel. Logging in takes no longer than the connect
    /// timeout; `bound` shortens it and holds for each query too, after which
    /// the connection is of no more use.
    pub fn open(login: Login, bound: Option<Duration>) -> Result<Dialog, Error> {
        let mut attempt = opening::to_login(login, bound).start()?;
        let session = loop {
            match attempt.advance(0)? {
                Some(session) => break session,
                None => check_for_interrupts(),
            }
        };
        // Never looked up by its target: the slot is not in the registry.
        let slot = Slot::new(Target::Node(cluster::NodeId(0)));
        slot.put(session);
        Ok(Dialog { slot, bound })
    }

    /// Runs one or more statements; the rows of all of them as text.
    pub fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        let ticket = self.slot.lease()?.simple(sql)?;
        let deadline = self.bound.map(|bound| Instant::now() + bound);
        Ok(collect_within(&self.slot, ticket, sql, deadline)?.rows.to_text())
    }
}

impl Dialog {
    /// Sends one or more statements without waiting for the answer.
    pub fn send(&self, sql: &str) -> Result<u64, Error> {
        self.slot.lease()?.simple(sql)
    }

    /// The answer to what was sent, as [`Dialog::query`] returns it. Deaf to
    /// cancel; past the deadline the connection is of no more use.
    pub fn receive(
        &self,
        ticket: u64,
        sql: &str,
        deadline: Instant,
    ) -> Result<Vec<Vec<Option<String>>>, Error> {
        Ok(collect_until(&self.slot, ticket, sql, deadline)?.rows.to_text())
    }
}

impl Dialog {
    /// The same however long it takes. Answers to cancel.
    pub fn collect(&self, ticket: u64, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        Ok(collect_within(&self.slot, ticket, sql, None)?.rows.to_text())
    }
}

impl Drop for Dialog {
    fn drop(&mut self) {
        if let Ok(Some(session)) = self.slot.try_lease() {
            // Nobody waits for what still runs over there, which does not see its
            // client go.
            if session.connection.is_busy() && session.connection.lost().is_none() {
                let (address, process, key) = session.connection.cancel_key();
                request_cancel(&address, process, key, Instant::now() + CANCEL_TIMEOUT);
            }
            session.discard();
        }
    }
}
