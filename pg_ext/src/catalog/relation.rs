//! OIDs of our own catalogues.
#![allow(unsafe_code)]

use std::ffi::CStr;

use pgrx::prelude::*;

use crate::report::Report;

/// The table `shardman.<name>`; `None` before CREATE EXTENSION. Must be called
/// in a transaction.
pub fn find_catalog(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: syscache look-ups by NUL-terminated names; without the schema the
    // second finds nothing.
    let table = unsafe {
        let namespace = pg_sys::get_namespace_oid(c"shardman".as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), namespace)
    };
    (table != pg_sys::InvalidOid).then_some(table)
}

/// The same where the extension must exist.
pub fn catalog(name: &CStr) -> Result<pg_sys::Oid, Report> {
    find_catalog(name).ok_or_else(|| {
        let name = name.to_string_lossy();
        Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("table shardman.{name} does not exist"),
        )
    })
}
