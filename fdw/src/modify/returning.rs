//! Rows that come back from a modification.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use crate::backend::{Attribute, ContextGuard, form_tuple};
use crate::error::Error;
use crate::transport::RowBuffer;
use crate::types::RowReader;

/// Puts the row that a remote RETURNING brought into a slot.
pub struct Returning {
    rows: RowReader,
    descriptor: pg_sys::TupleDesc,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Returning {
    /// # Safety
    /// `descriptor` and `context` outlive the value.
    pub unsafe fn new(
        attributes: &[Attribute],
        columns: &[i32],
        descriptor: pg_sys::TupleDesc,
        context: pg_sys::MemoryContext,
    ) -> Returning {
        // SAFETY: per the contract.
        let natts = unsafe { (*descriptor).natts } as usize;
        Returning {
            // SAFETY: per the contract.
            rows: unsafe { RowReader::new(attributes, columns, natts, context) },
            descriptor,
            values: vec![pg_sys::Datum::from(0usize); natts],
            nulls: vec![true; natts],
        }
    }

    /// Result format codes.
    pub fn formats(&self) -> Vec<i16> {
        self.rows.formats()
    }

    /// Stores the first of `rows`; false if there is none. Columns that were
    /// not asked for become NULL. The tuple lives until the next call.
    ///
    /// # Safety
    /// `slot` has the relation's descriptor.
    pub unsafe fn store(
        &mut self,
        rows: &RowBuffer,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> Result<bool, Error> {
        let mut position = 0;
        let Some(body) = rows.next_row(&mut position) else { return Ok(false) };
        // SAFETY: arrays of natts entries; the formed tuple is in the rows'
        // context and the slot does not free it.
        unsafe {
            let ctid = self.rows.read(body, self.values.as_mut_ptr(), self.nulls.as_mut_ptr())?;
            let _context = ContextGuard::enter(self.rows.context());
            let (values, nulls) = (self.values.as_mut_ptr(), self.nulls.as_mut_ptr());
            let tuple = form_tuple(self.descriptor, values, nulls, ctid);
            pg_sys::ExecForceStoreHeapTuple(tuple, slot, false);
            if let Some(ctid) = ctid {
                (*slot).tts_tid = ctid;
            }
        }
        Ok(true)
    }
}
