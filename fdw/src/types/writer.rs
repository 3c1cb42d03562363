//! From Datums to parameters on the wire.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::mem::MaybeUninit;

use pgrx::pg_sys;
use pgrx::pg_sys::Datum;

use super::format::{Format, base_type, is_builtin, wire_format};

/// Writes the values of one parameter or column.
pub struct ParameterWriter {
    how: How,
    type_oid: u32,
}

enum How {
    Bool,
    Int2,
    Int4,
    Int8,
    Send(pg_sys::FmgrInfo),
    Output(pg_sys::FmgrInfo),
}

impl ParameterWriter {
    /// A writer for values of a type.
    ///
    /// # Safety
    /// `context` is a live memory context that outlives the writer.
    pub unsafe fn new(type_oid: pg_sys::Oid, context: pg_sys::MemoryContext) -> ParameterWriter {
        let (base, _) = base_type(type_oid, -1);
        let mut is_varlena = false;
        // SAFETY: guarded calls; out parameters are valid for the calls.
        let how = unsafe {
            match wire_format(base) {
                Format::Binary => match base {
                    pg_sys::BOOLOID => How::Bool,
                    pg_sys::INT2OID => How::Int2,
                    pg_sys::INT4OID | pg_sys::DATEOID | pg_sys::FLOAT4OID => How::Int4,
                    pg_sys::INT8OID
                    | pg_sys::FLOAT8OID
                    | pg_sys::TIMESTAMPOID
                    | pg_sys::TIMESTAMPTZOID => How::Int8,
                    _ => {
                        let mut send = pg_sys::InvalidOid;
                        pg_sys::getTypeBinaryOutputInfo(base, &raw mut send, &raw mut is_varlena);
                        How::Send(function(send, context))
                    }
                },
                Format::Text => {
                    let mut output = pg_sys::InvalidOid;
                    pg_sys::getTypeOutputInfo(type_oid, &raw mut output, &raw mut is_varlena);
                    How::Output(function(output, context))
                }
            }
        };
        let type_oid = if is_builtin(base) { base.to_u32() } else { 0 };
        ParameterWriter { how, type_oid }
    }

    /// A writer of values of a type in their text form, whatever the type.
    ///
    /// # Safety
    /// As [`ParameterWriter::new`].
    pub unsafe fn text(type_oid: pg_sys::Oid, context: pg_sys::MemoryContext) -> ParameterWriter {
        let (mut output, mut is_varlena) = (pg_sys::InvalidOid, false);
        // SAFETY: guarded calls; out parameters are valid for the calls.
        let how = unsafe {
            pg_sys::getTypeOutputInfo(type_oid, &raw mut output, &raw mut is_varlena);
            How::Output(function(output, context))
        };
        ParameterWriter { how, type_oid: 0 }
    }

    /// The format it writes.
    pub fn format(&self) -> Format {
        match self.how {
            How::Output(_) => Format::Text,
            _ => Format::Binary,
        }
    }

    /// For Parse: the type if it is built in, 0 (to be inferred) otherwise.
    pub fn type_oid(&self) -> u32 {
        self.type_oid
    }

    /// Appends a value: its length and bytes, or -1 for NULL.
    ///
    /// # Safety
    /// `value` is a valid Datum of the type; an `EncodingGuard` is alive, and
    /// for text formats transmission modes are in force.
    #[inline]
    pub unsafe fn write(&mut self, value: Datum, is_null: bool, out: &mut Vec<u8>) {
        if is_null {
            out.extend_from_slice(&(-1i32).to_be_bytes());
            return;
        }
        match &mut self.how {
            How::Int4 => put(out, &(value.value() as u32).to_be_bytes()),
            How::Int8 => put(out, &(value.value() as u64).to_be_bytes()),
            How::Int2 => put(out, &(value.value() as u16).to_be_bytes()),
            How::Bool => put(out, &[u8::from(value.value() as u8 != 0)]),
            // SAFETY: guarded calls; results are read before anything else allocates.
            How::Send(function) => unsafe {
                let bytes = pg_sys::SendFunctionCall(function, value);
                let data = pgrx::varlena::vardata_any(bytes.cast());
                let len = pgrx::varlena::varsize_any_exhdr(bytes.cast());
                put(out, std::slice::from_raw_parts(data.cast(), len));
                pg_sys::pfree(bytes.cast());
            },
            // SAFETY: as above, for a C string.
            How::Output(function) => unsafe {
                let text = pg_sys::OutputFunctionCall(function, value);
                put(out, CStr::from_ptr(text).to_bytes());
                pg_sys::pfree(text.cast());
            },
        }
    }
}

#[inline]
fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}

unsafe fn function(oid: pg_sys::Oid, context: pg_sys::MemoryContext) -> pg_sys::FmgrInfo {
    let mut info = MaybeUninit::<pg_sys::FmgrInfo>::zeroed();
    // SAFETY: guarded; fills the struct whole.
    unsafe {
        pg_sys::fmgr_info_cxt(oid, info.as_mut_ptr(), context);
        info.assume_init()
    }
}
