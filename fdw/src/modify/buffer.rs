//! Rows of COPY on their way: PostgreSQL 15 hands them over one by one.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use super::state::ModifyState;
use crate::error::Error;
use crate::session::{self, Statement};
use crate::transport::Ticket;

/// A batch is sent when it has this many bytes, however few rows.
const MAX_BYTES: usize = 256 * 1024;

/// Rows composed and not sent, and the batch that is on its way.
#[derive(Default)]
pub struct Buffer {
    rows: usize,
    in_flight: Option<(Ticket, Statement)>,
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
            let sent = self.send(rows)?;
            if let Some(buffer) = &mut self.buffer {
                buffer.in_flight = Some(sent);
            }
        }
        Ok(())
    }

    fn await_batch(&mut self) -> Result<(), Error> {
        let in_flight = self.buffer.as_mut().and_then(|b| b.in_flight.take());
        if let Some((ticket, statement)) = in_flight {
            session::collect(&self.slot, ticket, &statement.text())?;
        }
        Ok(())
    }
}
