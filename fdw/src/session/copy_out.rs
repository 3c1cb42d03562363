//! COPY TO STDOUT, piece by piece: no more is held than what has come and was not
//! asked for.

use std::rc::Rc;

use super::exchange::finish;
use super::{Remote, Slot};
use crate::backend::check_for_interrupts;
use crate::error::Error;
use crate::transport::{Interrupts, Stop, Ticket};

/// A COPY under way. Dropped, what is left of it is thrown away.
pub struct CopyOut {
    slot: Rc<Slot>,
    ticket: Ticket,
    command: String,
    is_over: bool,
}

impl Remote {
    /// Begins `COPY … TO STDOUT` in the remote transaction, as the current user. The
    /// node does not become a writer.
    pub fn copy_out(&self, command: &str) -> Result<CopyOut, Error> {
        let mut session = self.slot.enter()?;
        session.holds = true;
        let ticket = session.simple(command)?;
        Ok(CopyOut { slot: self.slot.clone(), ticket, command: command.to_owned(), is_over: false })
    }
}

impl CopyOut {
    /// Waits for more and appends it; false at the end. Answers to cancel.
    pub fn append_to(&mut self, into: &mut Vec<u8>) -> Result<bool, Error> {
        if self.is_over {
            return Ok(false);
        }
        let before = into.len();
        loop {
            let outcome = {
                let mut session = self.slot.lease()?;
                let outcome = session.connection.wait_for_data(self.ticket, Interrupts::Heed);
                session.interrupted = matches!(outcome, Err(Stop::Interrupted));
                session.connection.take_data(self.ticket).append_to(into);
                outcome
            };
            if matches!(outcome, Err(Stop::Interrupted)) {
                check_for_interrupts();
                continue;
            }
            if outcome.is_ok() && into.len() > before {
                return Ok(true);
            }
            self.is_over = true;
            let mut session = self.slot.lease()?;
            finish(&mut session, self.ticket, self.command.as_str(), outcome)?;
            return Ok(false);
        }
    }
}

impl Drop for CopyOut {
    fn drop(&mut self) {
        if !self.is_over
            && let Ok(Some(mut session)) = self.slot.try_lease()
        {
            session.connection.forget(self.ticket);
        }
    }
}
