//! A connection of its own to any server, outside of every transaction: for
//! talking to a server that is not a member yet.

use std::rc::Rc;
use std::time::Instant;

use super::exchange::collect_until;
use super::opening::{self, Login};
use super::{Slot, Target, collect};
use crate::backend::check_for_interrupts;
use crate::error::Error;

/// An open connection; closed when dropped.
pub struct Dialog {
    slot: Rc<Slot>,
}

impl Dialog {
    /// Logs in. Answers to cancel; bounded by the connect timeout.
    pub fn open(login: Login) -> Result<Dialog, Error> {
        let mut attempt = opening::to_login(login).start()?;
        let session = loop {
            match attempt.advance(0)? {
                Some(session) => break session,
                None => check_for_interrupts(),
            }
        };
        // Never looked up by its target: the slot is not in the registry.
        let slot = Slot::new(Target::Node(cluster::NodeId(0)));
        slot.put(session);
        Ok(Dialog { slot })
    }

    /// Runs one or more statements; the rows of all of them as text.
    pub fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        let ticket = self.slot.lease()?.simple(sql)?;
        Ok(collect(&self.slot, ticket, sql)?.rows.to_text())
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

impl Drop for Dialog {
    fn drop(&mut self) {
        if let Ok(Some(session)) = self.slot.try_lease() {
            session.discard();
        }
    }
}
