//! Rows of a table as bytes that mean the same on every node: the values of its
//! columns one after another, each as on the wire.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use crate::backend::{ContextGuard, attributes, tuple_context};
use crate::error::{Error, Refusal, SqlState};
use crate::types::{ColumnReader, EncodingGuard, ParameterWriter, TransmissionModes};

/// Rows handled before their memory is reset at once.
const ROWS_PER_RESET: u32 = 64;

/// Makes images of rows. While it lives, settings are in force under which
/// text reads the same anywhere; they end with [`ImageWriter::finish`] or the
/// (sub)transaction.
pub struct ImageWriter {
    /// Index in the descriptor, of all columns that exist.
    columns: Vec<(usize, ParameterWriter)>,
    /// Positions in `columns`.
    key: Vec<usize>,
    modes: Option<TransmissionModes>,
    context: pg_sys::MemoryContext,
    rows: u32,
    /// What was written and not yet taken.
    pub bytes: Vec<u8>,
}

impl ImageWriter {
    /// For rows of `descriptor` whose key are the attributes `key`, in order.
    ///
    /// # Safety
    /// The descriptor and the current memory context outlive the writer.
    pub unsafe fn new(descriptor: pg_sys::TupleDesc, key: &[i16]) -> ImageWriter {
        // SAFETY: per the contract.
        unsafe {
            let parent = pg_sys::CurrentMemoryContext;
            let attributes = attributes(descriptor);
            let columns: Vec<_> = attributes
                .iter()
                .map(|a| (a.number as usize - 1, ParameterWriter::new(a.type_oid, parent)))
                .collect();
            let position = |number: &i16| attributes.iter().position(|a| a.number == *number);
            let key = key.iter().filter_map(position).collect();
            let modes = Some(TransmissionModes::enter(None));
            let context = tuple_context(parent);
            ImageWriter { columns, key, modes, context, rows: 0, bytes: Vec::new() }
        }
    }

    /// Appends all columns.
    ///
    /// # Safety
    /// The slot holds a row of the descriptor.
    pub unsafe fn row(&mut self, slot: *mut pg_sys::TupleTableSlot) -> Result<(), Error> {
        // SAFETY: the caller's.
        unsafe { self.write(slot, None) }
    }

    /// Appends the key's columns.
    ///
    /// # Safety
    /// As for `row`.
    pub unsafe fn key(&mut self, slot: *mut pg_sys::TupleTableSlot) -> Result<(), Error> {
        let key = std::mem::take(&mut self.key);
        // SAFETY: the caller's.
        let written = unsafe { self.write(slot, Some(&key)) };
        self.key = key;
        written
    }

    unsafe fn write(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        only: Option<&[usize]>,
    ) -> Result<(), Error> {
        // SAFETY: the caller's slot; deforming is guarded, and its arrays have an
        // entry for each attribute of the descriptor.
        unsafe {
            if self.rows == ROWS_PER_RESET {
                pg_sys::MemoryContextReset(self.context);
                self.rows = 0;
            }
            self.rows += 1;
            let natts = (*(*slot).tts_tupleDescriptor).natts;
            if i32::from((*slot).tts_nvalid) < natts {
                pg_sys::slot_getsomeattrs_int(slot, natts);
            }
            let values = std::slice::from_raw_parts((*slot).tts_values, natts as usize);
            let nulls = std::slice::from_raw_parts((*slot).tts_isnull, natts as usize);
            let _context = ContextGuard::enter(self.context);
            let _encoding = EncodingGuard::enter();
            let out = &mut self.bytes;
            let mut put = |(at, writer): &mut (usize, ParameterWriter)| {
                writer.write(values[*at], nulls[*at], out);
            };
            match only {
                None => self.columns.iter_mut().for_each(&mut put),
                Some(key) => key.iter().for_each(|position| put(&mut self.columns[*position])),
            }
        }
        Ok(())
    }

    /// Puts back the settings and frees memory.
    pub fn finish(mut self) {
        if let Some(modes) = self.modes.take() {
            modes.leave();
        }
        // SAFETY: the writer's own context, which nothing points into.
        unsafe { pg_sys::MemoryContextDelete(self.context) };
    }
}

/// Reads what an [`ImageWriter`] of the same table on another node wrote.
pub struct ImageReader {
    columns: Vec<(usize, ColumnReader)>,
    key: Vec<usize>,
    context: pg_sys::MemoryContext,
}

impl ImageReader {
    /// As [`ImageWriter::new`].
    ///
    /// # Safety
    /// As there.
    pub unsafe fn new(descriptor: pg_sys::TupleDesc, key: &[i16]) -> ImageReader {
        // SAFETY: per the contract.
        unsafe {
            let parent = pg_sys::CurrentMemoryContext;
            let attributes = attributes(descriptor);
            let columns: Vec<_> = attributes
                .iter()
                .map(|a| {
                    let reader = ColumnReader::new(a.type_oid, a.typmod, parent);
                    (a.number as usize - 1, reader)
                })
                .collect();
            let position = |number: &i16| attributes.iter().position(|a| a.number == *number);
            let key = key.iter().filter_map(position).collect();
            ImageReader { columns, key, context: tuple_context(parent) }
        }
    }

    /// Frees the values of earlier rows. To be called when no slot holds any.
    pub fn forget_rows(&mut self) {
        // SAFETY: the reader's own context; the caller says that nothing is used.
        unsafe { pg_sys::MemoryContextReset(self.context) };
    }

    /// Stores the next row of `input` in a virtual slot.
    ///
    /// # Safety
    /// The slot is virtual, of the descriptor.
    pub unsafe fn row(
        &mut self,
        input: &mut &[u8],
        slot: *mut pg_sys::TupleTableSlot,
    ) -> Result<(), Error> {
        // SAFETY: the caller's.
        unsafe { self.read(input, slot, None) }
    }

    /// Stores the next key of `input` in a virtual slot; other columns are NULL.
    ///
    /// # Safety
    /// As for `row`.
    pub unsafe fn key(
        &mut self,
        input: &mut &[u8],
        slot: *mut pg_sys::TupleTableSlot,
    ) -> Result<(), Error> {
        let key = std::mem::take(&mut self.key);
        // SAFETY: the caller's.
        let read = unsafe { self.read(input, slot, Some(&key)) };
        self.key = key;
        read
    }

    unsafe fn read(
        &mut self,
        input: &mut &[u8],
        slot: *mut pg_sys::TupleTableSlot,
        only: Option<&[usize]>,
    ) -> Result<(), Error> {
        // SAFETY: the caller's slot, whose arrays have natts entries; values are
        // made in the reader's own context.
        unsafe {
            pg_sys::ExecClearTuple(slot);
            let natts = (*(*slot).tts_tupleDescriptor).natts as usize;
            let values = std::slice::from_raw_parts_mut((*slot).tts_values, natts);
            let nulls = std::slice::from_raw_parts_mut((*slot).tts_isnull, natts);
            nulls.fill(true);
            let _context = ContextGuard::enter(self.context);
            let _encoding = EncodingGuard::enter();
            let mut take = |(at, reader): &mut (usize, ColumnReader)| -> Result<(), Error> {
                if let Some(bytes) = next_field(input)? {
                    values[*at] = reader.read(bytes)?;
                    nulls[*at] = false;
                }
                Ok(())
            };
            match only {
                None => self.columns.iter_mut().try_for_each(&mut take)?,
                Some(key) => key.iter().try_for_each(|at| take(&mut self.columns[*at]))?,
            }
            pg_sys::ExecStoreVirtualTuple(slot);
        }
        Ok(())
    }
}

fn next_field<'a>(input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Error> {
    let (length, rest) = input.split_first_chunk::<4>().ok_or_else(short)?;
    let length = i32::from_be_bytes(*length);
    let Ok(length) = usize::try_from(length) else {
        *input = rest;
        return Ok(None);
    };
    if rest.len() < length {
        return Err(short());
    }
    let (field, rest) = rest.split_at(length);
    *input = rest;
    Ok(Some(field))
}

fn short() -> Error {
    Refusal::new(SqlState::PROTOCOL_VIOLATION, "changes of another node end in the middle of a row")
        .with_hint("Compare the table's columns on both nodes.")
        .into()
}
