//! From one row on the wire to the arrays of a slot or tuple.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use super::{ColumnReader, EncodingGuard};
use crate::backend::{Attribute, ContextGuard, tuple_context};
use crate::error::{Error, Refusal, SqlState};
use crate::transport::fields;

/// Rows decoded before their memory is reset at once.
const ROWS_PER_RESET: u32 = 64;

/// Reads rows whose columns are known by attribute number.
pub struct RowReader {
    columns: Vec<(i32, ColumnReader)>,
    natts: usize,
    context: pg_sys::MemoryContext,
    rows: u32,
}

impl RowReader {
    /// For rows that carry `columns` (attribute numbers, -1 for ctid) in order.
    ///
    /// # Safety
    /// `parent` outlives the reader; `natts` is the descriptor's.
    pub unsafe fn new(
        attributes: &[Attribute],
        columns: &[i32],
        natts: usize,
        parent: pg_sys::MemoryContext,
    ) -> RowReader {
        // SAFETY: per the contract.
        let reader = |number: i32| unsafe {
            let found = attributes.iter().find(|a| i32::from(a.number) == number);
            let (type_oid, typmod) = found.map_or((pg_sys::TIDOID, -1), |a| (a.type_oid, a.typmod));
            ColumnReader::new(type_oid, typmod, parent)
        };
        RowReader {
            columns: columns.iter().map(|c| (*c, reader(*c))).collect(),
            natts,
            // SAFETY: per the contract.
            context: unsafe { tuple_context(parent) },
            rows: 0,
        }
    }

    /// The protocol's result format codes.
    pub fn formats(&self) -> Vec<i16> {
        self.columns.iter().map(|(_, reader)| reader.format().code()).collect()
    }

    /// Fills `values` and `nulls` (of natts entries; columns that the row does
    /// not carry become NULL) and returns the ctid, if the row carries it.
    /// Values live until the next call.
    ///
    /// # Safety
    /// Both pointers have room for natts entries, and nothing of an earlier row
    /// is used any more.
    pub unsafe fn read(
        &mut self,
        body: &[u8],
        values: *mut pg_sys::Datum,
        nulls: *mut bool,
    ) -> Result<Option<pg_sys::ItemPointerData>, Error> {
        if self.rows == ROWS_PER_RESET {
            // SAFETY: guarded; per the contract nobody looks at older rows.
            unsafe { pg_sys::MemoryContextReset(self.context) };
            self.rows = 0;
        }
        self.rows += 1;
        // SAFETY: the context is this reader's own.
        let _context = unsafe { ContextGuard::enter(self.context) };
        let _encoding = EncodingGuard::enter();
        // SAFETY: natts entries each, per the contract.
        let (values, nulls) = unsafe {
            (
                std::slice::from_raw_parts_mut(values, self.natts),
                std::slice::from_raw_parts_mut(nulls, self.natts),
            )
        };
        nulls.fill(true);
        let mut ctid = None;
        let mut wire = fields(body);
        for (number, reader) in &mut self.columns {
            let field = wire.next().ok_or_else(short)?;
            let Some(bytes) = field else { continue };
            // SAFETY: context and encoding as `ColumnReader::read` asks.
            let datum = unsafe { reader.read(bytes)? };
            if *number < 0 {
                // SAFETY: tidrecv returns a pointer to an ItemPointerData.
                ctid = Some(unsafe { *datum.cast_mut_ptr::<pg_sys::ItemPointerData>() });
            } else if let Some(at) = usize::try_from(*number - 1).ok().filter(|i| *i < self.natts) {
                values[at] = datum;
                nulls[at] = false;
            }
        }
        Ok(ctid)
    }

    /// The context of the rows' values.
    pub fn context(&self) -> pg_sys::MemoryContext {
        self.context
    }
}

fn short() -> Error {
    Refusal::new(SqlState::PROTOCOL_VIOLATION, "a row from another node has too few columns").into()
}
