//! The border between Rust and PostgreSQL's error handling.
//!
//! Every callback given to C is a *plain-old frame*: it runs its body through
//! [`callback`], which turns a returned [`Error`], an error that a guarded call
//! caught, or a panic into an `ErrorData`, drops everything that has a
//! destructor, and only then raises with the server's own `ThrowErrorData`.
//! Unlike pgrx's guard this keeps schema, table, column and constraint names
//! and remote context.
#![allow(unsafe_code)]

use std::panic::AssertUnwindSafe;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::prelude::PgTryBuilder;

use super::{Error, Report};

/// The server's functions as they are, unguarded: called from plain-old frames
/// only, where a longjmp skips nothing.
mod raw {
    unsafe extern "C-unwind" {
        pub fn ThrowErrorData(edata: *mut pgrx::pg_sys::ErrorData);
    }
}

/// Runs `body` for a C caller. Returns its value, or raises what it failed with.
///
/// # Safety
/// The caller is a frame with no live destructor, called by PostgreSQL in a
/// place where an ERROR may be raised.
pub unsafe fn callback<R: Copy>(body: impl FnOnce() -> Result<R, Error>) -> R {
    match guarded(body) {
        Ok(value) => value,
        // SAFETY: `guarded` consumed and dropped the body; this frame holds a
        // pointer and nothing else.
        Err(edata) => unsafe { throw(edata) },
    }
}

/// Raises a report. For plain-old frames of the integrator.
///
/// # Safety
/// As [`callback`].
pub unsafe fn raise(error: Error) -> ! {
    let edata = allocate_or_null(&Report::from(error));
    // SAFETY: the report was dropped above; the caller's frame has no destructor.
    unsafe { throw(edata) }
}

/// Shows a report below ERROR. Does not raise unless memory runs out.
pub fn emit(report: &Report) {
    // SAFETY: a level below ERROR returns; strings live in the current context.
    unsafe {
        let edata = error_data(report);
        if (*edata).elevel < pg_sys::PGERROR as i32 {
            pg_sys::ThrowErrorData(edata);
        }
    }
}

/// Runs `body` where nothing may raise (COMMIT and ABORT callbacks). A failure
/// of any kind comes back as a report.
pub fn quietly<R>(body: impl FnOnce() -> Result<R, Error>) -> Result<R, Box<Report>> {
    PgTryBuilder::new(AssertUnwindSafe(|| body().map_err(|e| Box::new(Report::from(e)))))
        .catch_others(|caught| Err(Box::new(Report::from(caught))))
        .execute()
}

fn guarded<R>(body: impl FnOnce() -> Result<R, Error>) -> Result<R, *mut pg_sys::ErrorData> {
    quietly(body).map_err(|report| allocate_or_null(&report))
}

fn allocate_or_null(report: &Report) -> *mut pg_sys::ErrorData {
    // SAFETY: palloc in the current context; out of memory comes back as null.
    std::panic::catch_unwind(AssertUnwindSafe(|| unsafe { error_data(report) }))
        .unwrap_or(null_mut())
}

/// # Safety
/// Must be called from a plain-old frame: this does not return.
unsafe fn throw(edata: *mut pg_sys::ErrorData) -> ! {
    // SAFETY: per the contract; a null pointer means memory ran out while the
    // report was built, and a report without strings needs none.
    unsafe {
        if edata.is_null() {
            let mut bare: pg_sys::ErrorData = std::mem::zeroed();
            bare.elevel = pg_sys::PGERROR as i32;
            bare.sqlerrcode = super::SqlState::INTERNAL.packed();
            bare.message = c"out of memory while reporting an error".as_ptr().cast_mut();
            raw::ThrowErrorData(&raw mut bare);
        } else {
            raw::ThrowErrorData(edata);
        }
    }
    // ThrowErrorData returns only below ERROR, which no report here is.
    std::process::abort()
}

/// # Safety
/// Needs a valid `CurrentMemoryContext`.
unsafe fn error_data(report: &Report) -> *mut pg_sys::ErrorData {
    // SAFETY: fresh zeroed memory of the right size; each string is a palloc'd copy.
    unsafe {
        let edata: *mut pg_sys::ErrorData = pg_sys::palloc0(size_of::<pg_sys::ErrorData>()).cast();
        let optional = |s: &Option<Vec<u8>>| s.as_ref().map_or(null_mut(), |s| c_string(s));
        (*edata).elevel = report.level;
        (*edata).sqlerrcode = report.sqlstate;
        (*edata).message = c_string(&report.message);
        (*edata).detail = optional(&report.detail);
        (*edata).hint = optional(&report.hint);
        (*edata).context = optional(&report.context);
        (*edata).schema_name = optional(&report.schema);
        (*edata).table_name = optional(&report.table);
        (*edata).column_name = optional(&report.column);
        (*edata).datatype_name = optional(&report.datatype);
        (*edata).constraint_name = optional(&report.constraint);
        edata
    }
}

/// # Safety
/// Needs a valid `CurrentMemoryContext`. Stops at the first NUL.
unsafe fn c_string(bytes: &[u8]) -> *mut std::ffi::c_char {
    let len = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    // SAFETY: len + 1 zeroed bytes, len of them overwritten.
    unsafe {
        let copy = pg_sys::palloc0(len + 1).cast::<u8>();
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), copy, len);
        copy.cast()
    }
}
