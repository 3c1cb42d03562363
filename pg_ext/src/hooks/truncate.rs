//! TRUNCATE of leaves, from another node, whose user may truncate the parent:
//! nobody has rights on leaves (see `hooks::copy`). Leaves have no triggers, so
//! no code of anybody runs.
#![allow(unsafe_code)]

use std::ffi::c_int;

use pgrx::prelude::*;

use crate::compat;

/// The server's functions, unguarded: see the rule in `hooks`.
mod raw {
    use std::ffi::{c_char, c_int};

    use pgrx::pg_sys;

    unsafe extern "C-unwind" {
        pub fn table_openrv(relation: *const pg_sys::RangeVar, lock: c_int) -> pg_sys::Relation;
        pub fn table_close(relation: pg_sys::Relation, lock: c_int);
        pub fn CheckTableNotInUse(relation: pg_sys::Relation, statement: *const c_char);
        pub fn lappend(list: *mut pg_sys::List, datum: *mut std::ffi::c_void) -> *mut pg_sys::List;
        pub fn lappend_oid(list: *mut pg_sys::List, oid: pg_sys::Oid) -> *mut pg_sys::List;
    }
}

/// Runs the TRUNCATE. A plain-old frame.
///
/// # Safety
/// `statement` is a valid TRUNCATE of leaves, each named once, sent by another
/// node at top level; `completion` is null or valid.
pub unsafe fn receive(
    statement: *mut pg_sys::TruncateStmt,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: plain data only, so errors may jump over this frame; the calls get
    // what PostgreSQL itself would give them. A leaf has no children.
    unsafe {
        let mut relations = std::ptr::null_mut();
        let mut oids = std::ptr::null_mut();
        let mut logged = std::ptr::null_mut();
        let ranges = (*statement).relations;
        for i in 0..(*ranges).length as usize {
            let range = (*(*ranges).elements.add(i)).ptr_value;
            let lock = pg_sys::AccessExclusiveLock as c_int;
            let relation = raw::table_openrv(range.cast(), lock);
            raw::CheckTableNotInUse(relation, c"TRUNCATE".as_ptr());
            relations = raw::lappend(relations, relation.cast());
            oids = raw::lappend_oid(oids, (*relation).rd_id);
            let is_permanent =
                (*(*relation).rd_rel).relpersistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT;
            if is_permanent && pg_sys::wal_level >= pg_sys::WalLevel::WAL_LEVEL_LOGICAL as c_int {
                logged = raw::lappend_oid(logged, (*relation).rd_id);
            }
        }
        let (behavior, restarts) = ((*statement).behavior, (*statement).restart_seqs);
        compat::truncate(relations, oids, logged, behavior, restarts);
        for i in 0..(*relations).length as usize {
            let relation = (*(*relations).elements.add(i)).ptr_value;
            raw::table_close(relation.cast(), pg_sys::NoLock as c_int);
        }
        if !completion.is_null() {
            (*completion).commandTag = pg_sys::CommandTag::CMDTAG_TRUNCATE_TABLE;
            (*completion).nprocessed = 0;
        }
    }
}
