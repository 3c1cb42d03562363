//! COPY of rows into a leaf, from another node.
//!
//! Nobody has rights on leaves, and the coordinator has checked the user's on
//! the parent (`hooks::analyze` says the same of other statements). PostgreSQL
//! has no hook between COPY's check and its work; so the work is begun here,
//! with the same three calls that PostgreSQL makes after its check. Everything
//! that runs meanwhile runs as the effective user.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};

use pgrx::prelude::*;

use crate::compat;

/// The server's functions, unguarded: see the rule in `hooks`.
mod raw {
    use std::ffi::{c_char, c_int};

    use pgrx::pg_sys;

    type Source = Option<unsafe extern "C-unwind" fn()>;

    unsafe extern "C-unwind" {
        pub fn PreventCommandIfReadOnly(command: *const c_char);
        pub fn make_parsestate(parent: *mut pg_sys::ParseState) -> *mut pg_sys::ParseState;
        pub fn free_parsestate(state: *mut pg_sys::ParseState);
        pub fn table_openrv(relation: *const pg_sys::RangeVar, lock: c_int) -> pg_sys::Relation;
        pub fn table_close(relation: pg_sys::Relation, lock: c_int);
        pub fn addRangeTableEntryForRelation(
            state: *mut pg_sys::ParseState,
            relation: pg_sys::Relation,
            lock: c_int,
            alias: *mut pg_sys::Alias,
            inherits: bool,
            is_in_from: bool,
        ) -> *mut pg_sys::ParseNamespaceItem;
        pub fn CopyGetAttnums(
            descriptor: pg_sys::TupleDesc,
            relation: pg_sys::Relation,
            names: *mut pg_sys::List,
        ) -> *mut pg_sys::List;
        pub fn BeginCopyFrom(
            state: *mut pg_sys::ParseState,
            relation: pg_sys::Relation,
            condition: *mut pg_sys::Node,
            file: *const c_char,
            is_program: bool,
            source: Source,
            names: *mut pg_sys::List,
            options: *mut pg_sys::List,
        ) -> pg_sys::CopyFromState;
        pub fn CopyFrom(copy: pg_sys::CopyFromState) -> u64;
        pub fn EndCopyFrom(copy: pg_sys::CopyFromState);
    }
}

/// Runs the COPY. A plain-old frame.
///
/// # Safety
/// `statement` is a valid COPY of a table FROM STDIN without WHERE, sent by
/// another node at top level; `completion` is null or valid.
pub unsafe fn receive(
    statement: *mut pg_sys::CopyStmt,
    query_string: *const c_char,
    completion: *mut pg_sys::QueryCompletion,
) {
    const LOCK: c_int = pg_sys::RowExclusiveLock as c_int;
    // SAFETY: plain data only, so errors may jump over this frame; the calls get
    // what PostgreSQL itself would give them.
    unsafe {
        let state = raw::make_parsestate(std::ptr::null_mut());
        (*state).p_sourcetext = query_string;
        let relation = raw::table_openrv((*statement).relation, LOCK);
        let item = raw::addRangeTableEntryForRelation(
            state,
            relation,
            LOCK,
            std::ptr::null_mut(),
            false,
            false,
        );
        let columns = raw::CopyGetAttnums((*relation).rd_att, relation, (*statement).attlist);
        // A row that breaks a constraint is shown as far as it was given.
        compat::note_inserted_columns(item, columns);
        raw::PreventCommandIfReadOnly(c"COPY FROM".as_ptr());
        let copy = raw::BeginCopyFrom(
            state,
            relation,
            std::ptr::null_mut(),
            std::ptr::null(),
            false,
            None,
            (*statement).attlist,
            (*statement).options,
        );
        let processed = raw::CopyFrom(copy);
        raw::EndCopyFrom(copy);
        raw::table_close(relation, pg_sys::NoLock as c_int);
        raw::free_parsestate(state);
        if !completion.is_null() {
            (*completion).commandTag = pg_sys::CommandTag::CMDTAG_COPY;
            (*completion).nprocessed = processed;
        }
    }
}
