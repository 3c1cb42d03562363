//! Rows in the form of the COPY protocol: binary, or text if a column has no
//! binary form that means the same on every node.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use crate::error::{Error, RemoteError};
use crate::types::{ParameterWriter, TransmissionModes};

/// What a binary COPY begins with: signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// And ends with.
const TRAILER: &[u8] = &(-1i16).to_be_bytes();

/// How a relation's rows are written for COPY.
pub struct CopyIn {
    /// `COPY … FROM STDIN …`
    pub command: Vec<u8>,
    /// The relation's name on the other node.
    relation: Vec<u8>,
    /// The table that the user's COPY names; `None` for INSERT.
    user_table: Option<Vec<u8>>,
    form: Form,
    origins: Vec<u64>,
}

enum Form {
    /// Each row begins with the number of its columns.
    Binary { columns: [u8; 2] },
    /// A writer per column, of the type's output.
    Text { writers: Vec<(i16, ParameterWriter)>, scratch: Vec<u8> },
}

impl CopyIn {
    /// For rows of `columns` columns that are written in binary.
    pub fn binary(command: Vec<u8>, relation: Vec<u8>, columns: usize) -> CopyIn {
        let columns = (columns as u16).to_be_bytes();
        let form = Form::Binary { columns };
        CopyIn { command, relation, user_table: None, form, origins: Vec::new() }
    }

    /// For rows written as text by `writers`, which know the columns' numbers.
    pub fn text(
        command: Vec<u8>,
        relation: Vec<u8>,
        writers: Vec<(i16, ParameterWriter)>,
    ) -> CopyIn {
        let form = Form::Text { writers, scratch: Vec::new() };
        CopyIn { command, relation, user_table: None, form, origins: Vec::new() }
    }

    /// The rows come from the user's COPY into the table of this name: errors
    /// shall say which row it was.
    pub fn naming_rows_of(mut self, table: Vec<u8>) -> CopyIn {
        self.user_table = Some(table);
        self
    }

    /// Writes what comes before a row's columns. False if the columns are
    /// written already.
    ///
    /// # Safety
    /// As [`ParameterWriter::write`], for the row's arrays of all attributes.
    pub unsafe fn begin_row(
        &mut self,
        values: *const pg_sys::Datum,
        nulls: *const bool,
        wire: &mut Vec<u8>,
    ) -> bool {
        if self.user_table.is_some() {
            self.origins.push(row_of_copy());
        }
        match &mut self.form {
            Form::Binary { columns } => {
                wire.extend_from_slice(columns);
                true
            }
            Form::Text { writers, scratch } => {
                let modes = TransmissionModes::enter(None);
                for (i, (number, writer)) in writers.iter_mut().enumerate() {
                    if i > 0 {
                        wire.push(b'\t');
                    }
                    let at = *number as usize - 1;
                    scratch.clear();
                    // SAFETY: per the contract.
                    unsafe { writer.write(*values.add(at), *nulls.add(at), scratch) };
                    // SAFETY: as above.
                    if unsafe { *nulls.add(at) } {
                        wire.extend_from_slice(b"\\N");
                    } else {
                        escape(scratch.get(4..).unwrap_or_default(), wire);
                    }
                }
                wire.push(b'\n');
                modes.leave();
                false
            }
        }
    }

    /// The parameters of the one row in `wire`, as a statement takes them;
    /// `None` if the form is another.
    pub fn parameters<'a>(&self, wire: &'a [u8]) -> Option<&'a [u8]> {
        match self.form {
            Form::Binary { .. } => wire.get(2..),
            Form::Text { .. } => None,
        }
    }

    /// All data of a COPY of `wire`.
    pub fn data<'a>(&self, wire: &'a [u8]) -> [&'a [u8]; 3] {
        match self.form {
            Form::Binary { .. } => [HEADER, wire, TRAILER],
            Form::Text { .. } => [&[], wire, &[]],
        }
    }

    /// Which rows of the user's COPY were written since the last call.
    pub fn take_origins(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.origins)
    }

    /// Says in the user's words where an error is. PostgreSQL names the line of
    /// the COPY that runs: over there that is ours, of one relation's rows; here
    /// it is the line that has been read meanwhile.
    pub fn explain(&self, error: Error, origins: &[u64]) -> Error {
        let Error::Remote { node, command, error: mut remote } = error else { return error };
        if let Some(line) = self.take_line(&mut remote)
            && let Some(table) = &self.user_table
            && let Some(row) = origins.get(line.wrapping_sub(1))
            && *row > 0
        {
            let mut context = remote.context.take().unwrap_or_default();
            if !context.is_empty() {
                context.push(b'\n');
            }
            context.extend_from_slice(b"COPY ");
            context.extend_from_slice(table);
            context.extend_from_slice(format!(", row {row}").as_bytes());
            remote.context = Some(context);
            leave_copy_context();
        }
        Error::Remote { node, command, error: remote }
    }

    /// Takes `COPY relation, line 7` out of the context; returns the number.
    fn take_line(&self, error: &mut RemoteError) -> Option<usize> {
        let start = [b"COPY ", self.relation.as_slice(), b", "].concat();
        let context = error.context.as_deref()?;
        let mut line = None;
        let mut rest: Vec<&[u8]> = Vec::new();
        for part in context.split(|b| *b == b'\n') {
            match part.strip_prefix(start.as_slice()) {
                Some(tail) if line.is_none() => line = first_number(tail),
                _ => rest.push(part),
            }
        }
        let rest = rest.join(&b'\n');
        error.context = (!rest.is_empty()).then_some(rest);
        line
    }
}

/// The first run of digits: the word in front of it is in the server's language.
fn first_number(text: &[u8]) -> Option<usize> {
    let digits = text.iter().skip_while(|b| !b.is_ascii_digit()).take_while(|b| b.is_ascii_digit());
    String::from_utf8(digits.copied().collect()).ok()?.parse().ok()
}

/// A value in COPY's text form. Encodings of databases have no ASCII bytes in
/// longer characters.
fn escape(value: &[u8], wire: &mut Vec<u8>) {
    for byte in value {
        match byte {
            b'\\' => wire.extend_from_slice(b"\\\\"),
            b'\n' => wire.extend_from_slice(b"\\n"),
            b'\r' => wire.extend_from_slice(b"\\r"),
            b'\t' => wire.extend_from_slice(b"\\t"),
            other => wire.push(*other),
        }
    }
}

/// The number of the row that COPY is at, as its progress view counts: rows
/// that WHERE left out, too. 0 if progress is not tracked.
fn row_of_copy() -> u64 {
    // SAFETY: this backend's own entry, which it alone writes.
    unsafe {
        let Some(entry) = pg_sys::MyBEEntry.as_ref() else { return 0 };
        if entry.st_progress_command != pg_sys::ProgressCommandType::PROGRESS_COMMAND_COPY {
            return 0;
        }
        let done = |counter: u32| entry.st_progress_param[counter as usize] as u64;
        done(pg_sys::PROGRESS_COPY_TUPLES_PROCESSED)
            + done(pg_sys::PROGRESS_COPY_TUPLES_EXCLUDED)
            + 1
    }
}

/// An error is about to be raised that names its row itself: PostgreSQL's COPY
/// shall not add the line that it has read last.
fn leave_copy_context() {
    // SAFETY: the stack's top is valid while we run below it; whoever catches
    // the error restores the stack that he began with.
    unsafe {
        if let Some(top) = pg_sys::error_context_stack.as_ref()
            && top
                .callback
                .is_some_and(|f| f as *const () == raw::CopyFromErrorCallback as *const ())
        {
            pg_sys::error_context_stack = top.previous;
        }
    }
}

mod raw {
    unsafe extern "C-unwind" {
        /// The server's own function, not pgrx's wrapper: its address is compared.
        pub fn CopyFromErrorCallback(arg: *mut std::ffi::c_void);
    }
}
