//! Rows on their way whose answer is waited for only before the next ones, or
//! at the end: of COPY, which PostgreSQL 15 hands over one by one, and of INSERT
//! in batches. So the owners of several leaves work at the same time.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use super::state::ModifyState;
use crate::error::Error;
use crate::session::{self, Statement};
use crate::transport::Ticket;

/// A batch is sent when it has this many bytes, however few rows.
const MAX_BYTES: usize = 256 * 1024;

/// Rows composed and not sent.
#[derive(Default)]
pub struct Buffer {
    rows: usize,
}

/// A batch whose answer has not been looked at.
pub struct InFlight {
    ticket: Ticket,
    statement: Statement,
}

impl ModifyState {
    /// Takes a row; sends a batch when it is full. The answer of a batch is
    /// waited for only before the next one is sent.
    ///
    /// # Safety
    /// As [`ModifyState::compose`].
    pub unsafe fn buffer_row(&mut self, row: *mut pg_sys::TupleTableSlot) -> Result<(), Error> {
        // SAFETY: per the contract.
        unsafe { self.compose(row, std::ptr::null_mut())? };
        let is_full = self.composed() >= MAX_BYTES;
        let batch_size = self.batch_size;
        let Some(buffer) = &mut self.buffer else { return Ok(()) };
        buffer.rows += 1;
        if is_full || buffer.rows >= batch_size {
            self.send_buffer()?;
        }
        Ok(())
    }

    /// Sends what is buffered and waits for all answers.
    pub fn flush_buffer(&mut self) -> Result<(), Error> {
        self.send_buffer()?;
        self.await_batch()
    }

    fn send_buffer(&mut self) -> Result<(), Error> {
        self.await_batch()?;
        let rows = match &mut self.buffer {
            Some(buffer) => std::mem::take(&mut buffer.rows),
            None => 0,
        };
        if rows > 0 {
            self.send_ahead(rows)?;
        }
        Ok(())
    }

    /// Sends what was composed, `rows` rows, once the batch before it has
    /// arrived.
    pub fn send_ahead(&mut self, rows: usize) -> Result<(), Error> {
        self.await_batch()?;
        let (ticket, statement) = self.send(rows)?;
        self.in_flight = Some(InFlight { ticket, statement });
        Ok(())
    }

    fn await_batch(&mut self) -> Result<(), Error> {
        let Some(sent) = self.in_flight.take() else { return Ok(()) };
        session::collect(&self.slot, sent.ticket, &sent.statement)?;
        Ok(())
    }
}
