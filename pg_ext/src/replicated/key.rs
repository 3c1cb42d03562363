//! The primary key of a replicated table: by it rows are found on other nodes.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use crate::catalog::qualified_name;
use crate::report::Report;

/// The primary key's index and its attributes.
pub struct Key {
    /// OID of the index.
    pub index: pg_sys::Oid,
    /// Attribute numbers, in the index's order.
    pub columns: Vec<i16>,
}

impl Key {
    /// Of an open relation. An error without a primary key, or with one that is
    /// checked late: rows could not be told apart meanwhile.
    ///
    /// # Safety
    /// `relation` is open and locked.
    pub unsafe fn of(relation: pg_sys::Relation) -> Result<Key, Report> {
        // SAFETY: the caller's; rd_pkindex is valid after the list was read, and
        // an index holds its pg_index row with as many key attributes as it says.
        unsafe {
            pg_sys::list_free(pg_sys::RelationGetIndexList(relation));
            let index = (*relation).rd_pkindex;
            if index == pg_sys::InvalidOid {
                return Err(no_key((*relation).rd_id, false));
            }
            let opened = pg_sys::index_open(index, pg_sys::AccessShareLock as i32);
            let form = (*opened).rd_index;
            let is_immediate = (*form).indimmediate;
            let count = (*form).indnkeyatts as usize;
            let columns = (*form).indkey.values.as_slice(count).to_vec();
            pg_sys::index_close(opened, pg_sys::AccessShareLock as i32);
            if !is_immediate {
                return Err(no_key((*relation).rd_id, true));
            }
            Ok(Key { index, columns })
        }
    }

    /// The same of a table by OID.
    pub fn of_table(rel: pg_sys::Oid) -> Result<Key, Report> {
        // SAFETY: opened with a lock that is kept; an error unwinds to the
        // transaction's end, which closes it.
        unsafe {
            let relation = pg_sys::table_open(rel, pg_sys::AccessShareLock as i32);
            let key = Key::of(relation);
            pg_sys::table_close(relation, pg_sys::NoLock as i32);
            key
        }
    }
}

fn no_key(rel: pg_sys::Oid, is_deferrable: bool) -> Report {
    let table = qualified_name(rel);
    let report = match is_deferrable {
        true => Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("the primary key of replicated table {table} must not be deferrable"),
        ),
        false => Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("replicated table {table} must have a primary key"),
        ),
    };
    report
        .detail("Rows are found on other nodes by their primary key.")
        .hint("Declare a PRIMARY KEY that is not DEFERRABLE.")
}
