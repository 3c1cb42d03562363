//! Whether a transaction has done anything besides writing tables with logs.
//!
//! If it has, the log cannot bring it about alone, and its entry is an intent.
#![allow(unsafe_code)]

use std::cell::Cell;

use pgrx::prelude::*;

use crate::catalog::{loaded_registry, registry};
use crate::compat;
use crate::ddl::relation_of;
use crate::lists::elements;
use crate::schema_change;

thread_local! {
    /// The last transaction that has.
    static DONE_IN: Cell<pg_sys::LocalTransactionId> = const { Cell::new(0) };
}

/// The running transaction does.
pub fn note() {
    DONE_IN.set(compat::local_transaction_id());
}

/// Whether the running transaction has.
pub fn is_done() -> bool {
    // SAFETY: reads a variable of the backend.
    let isolation = unsafe { pg_sys::XactIsoLevel } as u32;
    // A serializable transaction may still fail when everything is decided.
    DONE_IN.get() == compat::local_transaction_id()
        || isolation == pg_sys::XACT_SERIALIZABLE
        || schema_change::is_going_on()
}

/// Whether all that a statement writes are tables with logs. What functions and
/// triggers of theirs do is statements of its own.
///
/// # Safety
/// `statement` is about to be started, and writes.
pub unsafe fn writes_nothing_else(statement: *mut pg_sys::QueryDesc) -> bool {
    // SAFETY: the caller's; range table indexes begin at 1.
    unsafe {
        let Some(registry) = loaded_registry().filter(|registry| registry.has_row_logs()) else {
            return false;
        };
        let planned = (*statement).plannedstmt;
        let written = (*planned).resultRelations;
        let count = written.as_ref().map_or(0, |list| list.length);
        count > 0
            && (0..count).all(|at| {
                let index = pg_sys::list_nth_int(written, at);
                let entry: *mut pg_sys::RangeTblEntry =
                    pg_sys::list_nth((*planned).rtable, index - 1).cast();
                registry.logged_of((*entry).relid).is_some()
            })
    }
}

/// Whether a utility statement is COPY or TRUNCATE of tables with logs alone.
///
/// # Safety
/// `statement` is a valid utility statement.
pub unsafe fn is_bulk_write(statement: *mut pg_sys::Node) -> bool {
    // SAFETY: the tags name the structs.
    unsafe {
        let relations: Vec<*mut pg_sys::RangeVar> = match (*statement).type_ {
            pg_sys::NodeTag::T_CopyStmt => vec![(*statement.cast::<pg_sys::CopyStmt>()).relation],
            pg_sys::NodeTag::T_TruncateStmt => {
                elements((*statement.cast::<pg_sys::TruncateStmt>()).relations).collect()
            }
            _ => return false,
        };
        if !registry().is_ok_and(|registry| registry.has_row_logs()) {
            return false;
        }
        let is_logged = |range: *mut pg_sys::RangeVar| {
            let rel = if range.is_null() { None } else { relation_of(range) };
            rel.is_some_and(|rel| registry().is_ok_and(|it| it.logged_of(rel).is_some()))
        };
        relations.into_iter().all(is_logged)
    }
}
