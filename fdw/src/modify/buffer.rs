//! Rows collected for one relation and sent many at a time: of COPY, and of an
//! INSERT whose rows nobody looks at. The answer is waited for only before the
//! relation's next rows go, or at the end, so that the owners of several leaves
//! work at the same time as this server and each other.
//!
//! To a node they go by the COPY protocol; to a user's own server, which may
//! have a view, a rule or row security there, as INSERT of several rows.
#![allow(unsafe_code)]

use std::cell::RefCell;

use pgrx::pg_sys;

use super::copy::CopyIn;
use super::state::ModifyState;
use crate::error::Error;
use crate::session::{self, Statement};
use crate::transport::Ticket;

/// The first rows of a relation are sent at this many bytes, so that its owner
/// has something to do soon; each time after that at twice as many.
const FIRST_BYTES: usize = 32 * 1024;
/// Never at more.
const MOST_BYTES: usize = 256 * 1024;
/// What the rows of all relations may occupy, roughly, before they are sent.
const ALL_BYTES: usize = 32 * 1024 * 1024;
/// Below this, what is done once for each COPY costs more than its rows.
const FEWEST_BYTES: usize = 8 * 1024;

thread_local! {
    /// Who may hold rows that are not sent.
    static HOLDERS: RefCell<Vec<Holder>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Copy)]
struct Holder {
    estate: *mut pg_sys::EState,
    state: *mut ModifyState,
}

/// Rows composed and not sent.
pub struct Buffer {
    /// For a node.
    pub copy: Option<CopyIn>,
    rows: usize,
    limit: usize,
}

impl Buffer {
    /// An empty one.
    pub fn new(copy: Option<CopyIn>) -> Buffer {
        Buffer { copy, rows: 0, limit: FIRST_BYTES }
    }
}

/// Rows whose answer has not been looked at.
pub struct InFlight {
    ticket: Ticket,
    statement: Statement,
    /// Of COPY: of each row, which one of the user's it was.
    origins: Vec<u64>,
}

/// Enters a state that collects rows; it leaves when it is dropped.
///
/// # Safety
/// `state` is in its final place; `estate` is that of the statement.
pub unsafe fn hold(state: *mut ModifyState, estate: *mut pg_sys::EState) {
    HOLDERS.with(|holders| holders.borrow_mut().push(Holder { estate, state }));
}

/// The state is going away.
pub fn let_go(state: *const ModifyState) {
    // Called by Drop: never panics. No borrow outlives a statement above.
    let _ = HOLDERS.try_with(|holders| {
        if let Ok(mut holders) = holders.try_borrow_mut() {
            holders.retain(|h| !std::ptr::eq(h.state, state));
        }
    });
}

/// Sends what all relations of a statement have collected, without waiting for
/// the answers.
///
/// # Safety
/// `estate` is that of a running statement, and no reference to one of its
/// states is alive.
pub unsafe fn send_all(estate: *mut pg_sys::EState) -> Result<(), Error> {
    let mine: Vec<Holder> = HOLDERS.with(|holders| {
        let mut holders = holders.borrow_mut();
        let mine = holders.iter().filter(|h| h.estate == estate).copied().collect();
        holders.retain(|h| h.estate != estate);
        mine
    });
    for holder in mine {
        // SAFETY: a state removes itself when it goes; none is borrowed, per
        // the contract.
        unsafe { (*holder.state).send_buffer()? };
    }
    Ok(())
}

impl ModifyState {
    /// Takes a row; sends what was collected when it is enough.
    ///
    /// # Safety
    /// As [`ModifyState::compose`].
    pub unsafe fn buffer_row(&mut self, row: *mut pg_sys::TupleTableSlot) -> Result<(), Error> {
        // SAFETY: per the contract.
        unsafe { self.compose(row, std::ptr::null_mut())? };
        let (composed, batch_size) = (self.composed(), self.batch_size);
        let Some(buffer) = &mut self.buffer else { return Ok(()) };
        buffer.rows += 1;
        let is_full =
            composed >= buffer.limit || buffer.copy.is_none() && buffer.rows >= batch_size;
        if is_full {
            let holders = HOLDERS.with(|holders| holders.borrow().len()).max(1);
            let share = (ALL_BYTES / holders).clamp(FEWEST_BYTES, MOST_BYTES);
            buffer.limit = (buffer.limit * 2).min(share);
            self.send_buffer()?;
        }
        Ok(())
    }

    /// Sends what is collected and waits for all answers.
    pub fn flush_buffer(&mut self) -> Result<(), Error> {
        self.send_buffer()?;
        self.await_rows()
    }

    /// Sends what is collected, once the rows before them have arrived.
    fn send_buffer(&mut self) -> Result<(), Error> {
        let (rows, origins) = match &mut self.buffer {
            Some(buffer) => {
                let origins = buffer.copy.as_mut().map(CopyIn::take_origins);
                (std::mem::take(&mut buffer.rows), origins.unwrap_or_default())
            }
            None => return Ok(()),
        };
        if rows > 0 {
            self.await_rows()?;
            let (ticket, statement) = self.send(rows)?;
            self.in_flight = Some(InFlight { ticket, statement, origins });
        }
        Ok(())
    }

    fn await_rows(&mut self) -> Result<(), Error> {
        let Some(sent) = self.in_flight.take() else { return Ok(()) };
        match (session::collect(&self.slot, sent.ticket, &sent.statement), &self.buffer) {
            (Ok(_), _) => Ok(()),
            (Err(error), Some(Buffer { copy: Some(copy), .. })) => {
                Err(copy.explain(error, &sent.origins))
            }
            (Err(error), _) => Err(error),
        }
    }
}
