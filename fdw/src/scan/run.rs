//! A portal that a scan reads: chunks of rows that grow, the next one asked for
//! while the present one is consumed.

use std::rc::Rc;

use super::asynchronous::Waiting;
use super::effort::Effort;
use crate::error::{Error, Refusal, SqlState};
use crate::session::{self, Slot, Statement};
use crate::transport::{RowBuffer, Ticket};

/// Rows of the first chunk: a point query needs no more, a LIMIT wastes little.
pub const FIRST_ROWS: i32 = 100;
/// Bounds of the rows in a chunk.
const MAX_ROWS: usize = 100_000;

/// A portal that was opened.
pub struct Run {
    pub slot: Rc<Slot>,
    /// Session and transaction that the portal belongs to.
    pub owner: (u64, u64),
    pub portal: String,
    /// The answer to a Bind that was sent ahead.
    pub bound: Option<Ticket>,
    pub pending: Option<Ticket>,
    /// The request of Async Append that waits for `pending`.
    pub waiting: Option<Rc<Waiting>>,
    pub chunk: RowBuffer,
    pub position: usize,
    pub chunks: u32,
    /// The portal has no more than the present chunk.
    pub is_exhausted: bool,
    /// Rows that a modification without RETURNING has changed.
    pub affected: u64,
    pub effort: Rc<Effort>,
}

impl Run {
    /// Makes the next chunk the present one.
    pub fn fetch(
        &mut self,
        statement: &Statement,
        fetch_size: i32,
        keeps_rows: bool,
    ) -> Result<(), Error> {
        let ticket = match self.pending.take() {
            Some(ticket) => ticket,
            None => self.ask(self.next_size(fetch_size))?,
        };
        self.check_owner()?;
        if let Some(bound) = self.bound.take() {
            session::collect(&self.slot, bound, statement)?;
        }
        self.effort.begin_to_wait();
        let reply = session::collect(&self.slot, ticket, statement)?;
        self.effort.received(reply.rows.len());
        self.is_exhausted = !reply.suspended;
        self.affected = reply.affected();
        if keeps_rows {
            self.chunk.append(reply.rows);
        } else {
            self.chunk = reply.rows;
            self.position = 0;
        }
        self.chunks += 1;
        if !self.is_exhausted && self.chunks >= 2 {
            self.pending = Some(self.ask(self.next_size(fetch_size))?);
        }
        Ok(())
    }

    /// True if the next chunk can be had without waiting; asks for it if that
    /// has not been done.
    pub fn is_ready(&mut self, fetch_size: i32) -> Result<bool, Error> {
        match self.pending {
            Some(ticket) => self.has_arrived(ticket),
            None => {
                self.pending = Some(self.ask(self.next_size(fetch_size))?);
                Ok(false)
            }
        }
    }

    pub fn has_arrived(&self, ticket: Ticket) -> Result<bool, Error> {
        self.check_owner()?;
        let session = self.slot.lease()?;
        Ok(session.connection.is_done(ticket) || session.connection.lost().is_some())
    }

    pub fn ask(&self, rows: i32) -> Result<Ticket, Error> {
        self.check_owner()?;
        // Entering mirrors a savepoint set since: an error must not reach past it.
        self.slot.enter()?.continue_portal(&self.portal, rows)
    }

    pub fn check_owner(&self) -> Result<(), Error> {
        let session = self.slot.try_lease()?;
        match session {
            Some(session) if (session.id, session.transaction) == self.owner => Ok(()),
            _ => Err(Refusal::new(
                SqlState::CONNECTION_FAILURE,
                "the remote transaction that a scan was reading in has ended",
            )
            .into()),
        }
    }

    pub fn next_size(&self, fetch_size: i32) -> i32 {
        let average = self.chunk.byte_len() / self.chunk.len().max(1);
        let bytes = self.slot.lease().map_or(0, |session| session.chunk_bytes());
        let rows = (bytes / average.max(1)).clamp(FIRST_ROWS as usize, MAX_ROWS);
        let rows = rows.min((self.chunk.len() * 20).max(FIRST_ROWS as usize)) as i32;
        if fetch_size > 0 { rows.min(fetch_size) } else { rows }
    }
}

/// The refusal to go on with a scan that has none.
pub fn not_running() -> Error {
    Refusal::internal("a foreign scan has no portal").into()
}
