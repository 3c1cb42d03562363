//! From the wire to Datums.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use pgrx::pg_sys;
use pgrx::pg_sys::Datum;

use super::format::{Format, base_type, wire_format};
use crate::error::{Error, Refusal, SqlState};

/// Reads the values of one column.
pub struct ColumnReader {
    how: How,
    typmod: i32,
}

enum How {
    Bool,
    Int2,
    Int4,
    Int8,
    /// float4, float8: the bits of an int4, an int8.
    Varlena,
    Uuid,
    Receive {
        function: pg_sys::FmgrInfo,
        io_parameter: pg_sys::Oid,
    },
    Input {
        function: pg_sys::FmgrInfo,
        io_parameter: pg_sys::Oid,
    },
}

impl ColumnReader {
    /// A reader for values of a type. `context` holds function look-ups and
    /// outlives the reader.
    ///
    /// # Safety
    /// `context` is a live memory context.
    pub unsafe fn new(
        type_oid: pg_sys::Oid,
        typmod: i32,
        context: pg_sys::MemoryContext,
    ) -> ColumnReader {
        let (base, base_typmod) = base_type(type_oid, typmod);
        // SAFETY: guarded calls; out parameters are valid for the calls.
        let how = unsafe {
            match wire_format(base) {
                Format::Binary => match fast(base) {
                    Some(how) => how,
                    None => {
                        let (mut receive, mut io_parameter) =
                            (pg_sys::InvalidOid, pg_sys::InvalidOid);
                        pg_sys::getTypeBinaryInputInfo(
                            base,
                            &raw mut receive,
                            &raw mut io_parameter,
                        );
                        How::Receive { function: function(receive, context), io_parameter }
                    }
                },
                Format::Text => {
                    let (mut input, mut io_parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
                    pg_sys::getTypeInputInfo(type_oid, &raw mut input, &raw mut io_parameter);
                    How::Input { function: function(input, context), io_parameter }
                }
            }
        };
        ColumnReader { how, typmod: base_typmod }
    }

    /// The format to ask for.
    pub fn format(&self) -> Format {
        match self.how {
            How::Input { .. } => Format::Text,
            _ => Format::Binary,
        }
    }

    /// The Datum of a value that is not NULL, in the current memory context.
    ///
    /// # Safety
    /// The current context is the caller's for the result; an
    /// `EncodingGuard` is alive.
    #[inline]
    pub unsafe fn read(&mut self, bytes: &[u8]) -> Result<Datum, Error> {
        Ok(match &mut self.how {
            How::Int4 => Datum::from(i32::from_be_bytes(exactly(bytes)?)),
            How::Int8 => Datum::from(i64::from_be_bytes(exactly(bytes)?)),
            How::Int2 => Datum::from(i16::from_be_bytes(exactly(bytes)?)),
            How::Bool => Datum::from(exactly::<1>(bytes)? != [0]),
            // SAFETY: fresh memory of the right size is filled whole.
            How::Varlena => unsafe { varlena(bytes) },
            How::Uuid => {
                let value: [u8; 16] = exactly(bytes)?;
                // SAFETY: 16 fresh bytes.
                unsafe {
                    let copy = pg_sys::palloc(16).cast::<u8>();
                    std::ptr::copy_nonoverlapping(value.as_ptr(), copy, 16);
                    Datum::from(copy)
                }
            }
            How::Receive { function, io_parameter } => {
                // SAFETY: the copy is NUL-terminated as receive functions expect
                // of a StringInfo; the guarded call may raise, nothing is borrowed.
                unsafe {
                    let copy = terminated(bytes);
                    let mut buffer = pg_sys::StringInfoData {
                        data: copy,
                        len: bytes.len() as i32,
                        maxlen: bytes.len() as i32 + 1,
                        cursor: 0,
                    };
                    let datum = pg_sys::ReceiveFunctionCall(
                        function,
                        &raw mut buffer,
                        *io_parameter,
                        self.typmod,
                    );
                    if buffer.cursor != buffer.len {
                        return Err(malformed());
                    }
                    datum
                }
            }
            // SAFETY: as above, for a C string.
            How::Input { function, io_parameter } => unsafe {
                pg_sys::InputFunctionCall(function, terminated(bytes), *io_parameter, self.typmod)
            },
        })
    }
}

fn fast(base: pg_sys::Oid) -> Option<How> {
    Some(match base {
        pg_sys::BOOLOID => How::Bool,
        pg_sys::INT2OID => How::Int2,
        pg_sys::INT4OID | pg_sys::DATEOID | pg_sys::FLOAT4OID => How::Int4,
        pg_sys::INT8OID | pg_sys::FLOAT8OID | pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => {
            How::Int8
        }
        pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID | pg_sys::BYTEAOID => How::Varlena,
        pg_sys::UUIDOID => How::Uuid,
        _ => return None,
    })
}

unsafe fn function(oid: pg_sys::Oid, context: pg_sys::MemoryContext) -> pg_sys::FmgrInfo {
    let mut info = MaybeUninit::<pg_sys::FmgrInfo>::zeroed();
    // SAFETY: guarded; fills the struct whole.
    unsafe {
        pg_sys::fmgr_info_cxt(oid, info.as_mut_ptr(), context);
        info.assume_init()
    }
}

/// Flat varlena with a four-byte header.
#[inline]
unsafe fn varlena(bytes: &[u8]) -> Datum {
    // SAFETY: header and payload are written into fresh memory.
    unsafe {
        let size = bytes.len() + pg_sys::VARHDRSZ;
        let value = pg_sys::palloc(size).cast::<u8>();
        pgrx::varlena::set_varsize_4b(value.cast(), size as i32);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), value.add(pg_sys::VARHDRSZ), bytes.len());
        Datum::from(value)
    }
}

unsafe fn terminated(bytes: &[u8]) -> *mut std::ffi::c_char {
    // SAFETY: len + 1 fresh bytes, all written.
    unsafe {
        let copy = pg_sys::palloc(bytes.len() + 1).cast::<u8>();
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len());
        *copy.add(bytes.len()) = 0;
        copy.cast()
    }
}

#[inline]
fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Error> {
    bytes.try_into().map_err(|_| malformed())
}

fn malformed() -> Error {
    Refusal::new(SqlState::PROTOCOL_VIOLATION, "a value from another node has an unexpected length")
        .with_hint("Compare the column's type on both nodes.")
        .into()
}
