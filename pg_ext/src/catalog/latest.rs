//! Reading our catalogues as PostgreSQL reads its own: what is committed now
//! and what this transaction has written, whatever snapshot the user's
//! statement runs with.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};

use pgrx::prelude::*;

use super::ActingAs;
use crate::report::Report;

/// The rows of a query on the catalogue `source`, every value as text. The
/// query must use qualified names only: the user's search_path is in force.
pub fn read_latest(source: pg_sys::Oid, query: &str) -> Result<Vec<Vec<Option<String>>>, Report> {
    let failed = |what: &str| {
        Report::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "could not read the shardman catalogs")
            .detail(format!("{what} failed."))
    };
    let query = CString::new(query).map_err(|_| failed("The query"))?;
    let _acting = ActingAs::owner_of_the_catalogs();
    // SAFETY: guarded calls in the order that SPI asks for; an error on the way
    // unwinds, and the transaction's end cleans SPI up.
    unsafe {
        if pg_sys::SPI_connect() != pg_sys::SPI_OK_CONNECT as i32 {
            return Err(failed("SPI_connect"));
        }
        let plan = pg_sys::SPI_prepare(query.as_ptr(), 0, std::ptr::null_mut());
        if plan.is_null() {
            return Err(failed("SPI_prepare"));
        }
        let done = pg_sys::SPI_execute_snapshot(
            plan,
            std::ptr::null_mut(),
            std::ptr::null(),
            pg_sys::GetCatalogSnapshot(source),
            std::ptr::null_mut(),
            true,
            false,
            0,
        );
        let rows = if done == pg_sys::SPI_OK_SELECT as i32 {
            Ok(collect(&*pg_sys::SPI_tuptable))
        } else {
            Err(failed("SPI_execute_snapshot"))
        };
        pg_sys::SPI_finish();
        rows
    }
}

/// SAFETY: `table` is the result of a SELECT that SPI still holds.
unsafe fn collect(table: &pg_sys::SPITupleTable) -> Vec<Vec<Option<String>>> {
    // SAFETY: the caller's; numvals tuples of natts columns; SPI_getvalue
    // returns a palloc'd string or null.
    unsafe {
        let columns = (*table.tupdesc).natts;
        let rows = std::slice::from_raw_parts(table.vals, table.numvals as usize);
        let value = |row: pg_sys::HeapTuple, column: i32| {
            let text = pg_sys::SPI_getvalue(row, table.tupdesc, column);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        };
        rows.iter().map(|row| (1..=columns).map(|column| value(*row, column)).collect()).collect()
    }
}
