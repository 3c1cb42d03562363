//! OIDs of our own catalogues, and names of relations.
#![allow(unsafe_code)]

use std::ffi::CStr;

use cluster::sharding::quote_identifier;
use pgrx::prelude::*;

use crate::lists::text;
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

/// A relation's name, qualified and quoted.
pub fn qualified_name(rel: pg_sys::Oid) -> String {
    // SAFETY: syscache look-ups; palloc'd names or null.
    let (schema, name) = unsafe {
        let namespace = pg_sys::get_rel_namespace(rel);
        (text(pg_sys::get_namespace_name(namespace)), text(pg_sys::get_rel_name(rel)))
    };
    format!("{}.{}", quote_identifier(&schema), quote_identifier(&name))
}
