//! Identity columns that a COPY FROM leaves out.
//!
//! COPY builds their values itself, by a node that knows nothing of blocks. So
//! for the length of the statement the table's descriptor in this backend's
//! cache says that such a column has a default, our call, and is no identity
//! column. COPY makes no other difference between the two. Afterwards, and when
//! the statement fails, the entry is thrown away.
#![allow(unsafe_code)]

use std::cell::Cell;

use pgrx::prelude::*;

use super::identity::identity_call;
use crate::catalog::registry;
use crate::lists::{elements, text};
use crate::report::Report;

thread_local! {
    /// The table whose entry says something else than the catalogue.
    static CHANGED: Cell<pg_sys::Oid> = const { Cell::new(pg_sys::InvalidOid) };
}

/// The changed entry, until the COPY has run.
#[must_use]
pub struct IdentityDefaults {
    table: pg_sys::Oid,
}

impl IdentityDefaults {
    /// Has the entry read anew.
    pub fn take_back(&self) {
        forget(self.table);
    }
}

/// Registers what is done when a COPY fails. Called once, at load.
pub fn init() {
    // SAFETY: plain functions that raise nothing.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_subend), std::ptr::null_mut());
    }
}

unsafe extern "C-unwind" fn at_end(event: pg_sys::XactEvent::Type, _: *mut std::ffi::c_void) {
    if event == pg_sys::XactEvent::XACT_EVENT_ABORT {
        forget(CHANGED.get());
    }
}

unsafe extern "C-unwind" fn at_subend(
    event: pg_sys::SubXactEvent::Type,
    _: pg_sys::SubTransactionId,
    _: pg_sys::SubTransactionId,
    _: *mut std::ffi::c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        forget(CHANGED.get());
    }
}

fn forget(table: pg_sys::Oid) {
    unsafe extern "C-unwind" {
        #[link_name = "RelationCacheInvalidateEntry"]
        fn invalidate_raw(table: pg_sys::Oid);
    }
    if table == pg_sys::InvalidOid {
        return;
    }
    CHANGED.set(pg_sys::InvalidOid);
    // SAFETY: marks the entry, or drops it if nobody has it open; while a
    // transaction is being rolled back it reads no catalogue.
    unsafe { invalidate_raw(table) }
}

/// Looks at a COPY that PostgreSQL is about to run.
///
/// # Safety
/// `statement` is a valid CopyStmt.
pub unsafe fn before_copy(
    statement: *mut pg_sys::CopyStmt,
) -> Result<Option<IdentityDefaults>, Report> {
    // SAFETY: the caller's; the table is locked as COPY will lock it; its
    // descriptor is read and changed while it is open.
    unsafe {
        if !(*statement).is_from
            || (*statement).relation.is_null()
            || registry()?.has_no_sequences()
        {
            return Ok(None);
        }
        let lock = pg_sys::RowExclusiveLock as i32;
        let relation = pg_sys::table_openrv_extended((*statement).relation, lock, true);
        if relation.is_null() {
            return Ok(None);
        }
        let table = (*relation).rd_id;
        let named: Vec<String> = elements::<pg_sys::String>((*statement).attlist)
            .map(|name| text((*name).sval))
            .collect();
        let descriptor = (*relation).rd_att;
        let mut calls = Vec::new();
        for at in 0..(*descriptor).natts as usize {
            let attribute = (*descriptor).attrs.as_slice(at + 1)[at];
            let name = text(attribute.attname.data.as_ptr().cast_mut());
            if attribute.attidentity == 0
                || attribute.attisdropped
                || named.is_empty()
                || named.contains(&name)
            {
                continue;
            }
            let sequence = pg_sys::getIdentitySequence(table, attribute.attnum, true);
            calls.extend(identity_call(sequence, attribute.atttypid).map(|call| (at, call)));
        }
        let changed = (!calls.is_empty()).then_some(IdentityDefaults { table });
        if changed.is_some() {
            CHANGED.set(table);
            calls.into_iter().for_each(|(at, call)| give_default(descriptor, at, call));
        }
        pg_sys::relation_close(relation, pg_sys::NoLock as i32);
        Ok(changed)
    }
}

/// SAFETY: `descriptor` is that of an open relation, of which `at` is a column.
unsafe fn give_default(descriptor: pg_sys::TupleDesc, at: usize, call: *mut pg_sys::Node) {
    // SAFETY: the entry's own arrays, which live in the cache's memory; they are
    // replaced by longer ones there, and freed with the entry.
    unsafe {
        let constraints = (*descriptor).constr;
        let attribute = (*descriptor).attrs.as_mut_ptr().add(at);
        let cache = pg_sys::GetMemoryChunkContext(descriptor.cast());
        let before = pg_sys::MemoryContextSwitchTo(cache);
        let count = (*constraints).num_defval as usize;
        let size = (count + 1) * size_of::<pg_sys::AttrDefault>();
        let defaults: *mut pg_sys::AttrDefault = pg_sys::palloc0(size).cast();
        if count > 0 {
            std::ptr::copy_nonoverlapping((*constraints).defval, defaults, count);
            pg_sys::pfree((*constraints).defval.cast());
        }
        (*defaults.add(count)).adnum = (*attribute).attnum;
        (*defaults.add(count)).adbin = pg_sys::nodeToString(call.cast());
        (*constraints).defval = defaults;
        (*constraints).num_defval += 1;
        (*attribute).atthasdef = true;
        (*attribute).attidentity = 0;
        pg_sys::MemoryContextSwitchTo(before);
    }
}
