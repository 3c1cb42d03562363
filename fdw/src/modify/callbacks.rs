//! The executor's calls, as plain-old frames.
#![allow(unsafe_code)]

use pgrx::pg_sys;
use pgrx::pg_sys::{EState, List, ModifyTableState, ResultRelInfo, TupleTableSlot};

use super::state::ModifyState;
use super::update::Done;
use super::{buffer, insert as inserting, moving, update as updating};
use crate::error::callback;

/// BeginForeignModify.
pub unsafe extern "C-unwind" fn begin_modify(
    node: *mut ModifyTableState,
    info: *mut ResultRelInfo,
    private: *mut List,
    _subplan: i32,
    flags: i32,
) {
    if flags as u32 & pg_sys::EXEC_FLAG_EXPLAIN_ONLY != 0 {
        return;
    }
    // SAFETY: called by the executor; no destructor here.
    unsafe { callback(|| updating::begin(node, info, private)) }
}

/// BeginForeignInsert.
pub unsafe extern "C-unwind" fn begin_insert(
    node: *mut ModifyTableState,
    info: *mut ResultRelInfo,
) {
    // SAFETY: called by the executor; no destructor here.
    unsafe { callback(|| inserting::begin(node, info)) }
}

mod raw {
    use pgrx::pg_sys;
    unsafe extern "C-unwind" {
        /// Not the guarded binding: its errors keep their fields.
        pub fn ExecWithCheckOptions(
            kind: pg_sys::WCOKind::Type,
            info: *mut pg_sys::ResultRelInfo,
            slot: *mut pg_sys::TupleTableSlot,
            estate: *mut pg_sys::EState,
        );
    }
}

/// Checks a new row by the policies of its table, which the executor does for local
/// tables only. A plain-old frame.
unsafe fn check_policies(estate: *mut EState, info: *mut ResultRelInfo, slot: *mut TupleTableSlot) {
    // SAFETY: the executor's pointers; no destructor here.
    unsafe {
        if (*info).ri_WithCheckOptions.is_null() {
            return;
        }
        // Rows that an UPDATE moves are inserted, too, and checked as that says.
        for kind in [pg_sys::WCOKind::WCO_RLS_INSERT_CHECK, pg_sys::WCOKind::WCO_RLS_UPDATE_CHECK] {
            raw::ExecWithCheckOptions(kind, info, slot, estate);
        }
    }
}

/// ExecForeignInsert.
pub unsafe extern "C-unwind" fn insert(
    estate: *mut EState,
    info: *mut ResultRelInfo,
    slot: *mut TupleTableSlot,
    _plan_slot: *mut TupleTableSlot,
) -> *mut TupleTableSlot {
    // SAFETY: called by the executor; no destructor here.
    unsafe {
        check_policies(estate, info, slot);
        callback(|| inserting::one(info, slot))
    }
}

/// ExecForeignBatchInsert.
pub unsafe extern "C-unwind" fn batch_insert(
    estate: *mut EState,
    info: *mut ResultRelInfo,
    slots: *mut *mut TupleTableSlot,
    _plan_slots: *mut *mut TupleTableSlot,
    count: *mut i32,
) -> *mut *mut TupleTableSlot {
    // SAFETY: called by the executor; no destructor here.
    unsafe {
        let mut i = 0;
        while i < *count as usize {
            check_policies(estate, info, *slots.add(i));
            i += 1;
        }
        let inserted = callback(|| inserting::batch(info, slots, *count as usize));
        *count = inserted as i32;
    }
    slots
}

/// GetForeignModifyBatchSize.
pub unsafe extern "C-unwind" fn batch_size(info: *mut ResultRelInfo) -> i32 {
    // SAFETY: called by the executor; no destructor here.
    unsafe { callback(|| Ok(inserting::batch_size(info) as i32)) }
}

/// ExecForeignUpdate.
pub unsafe extern "C-unwind" fn update(
    estate: *mut EState,
    info: *mut ResultRelInfo,
    slot: *mut TupleTableSlot,
    plan_slot: *mut TupleTableSlot,
) -> *mut TupleTableSlot {
    // SAFETY: called by the executor; no destructor here.
    unsafe {
        check_policies(estate, info, slot);
        match callback(|| updating::one(info, slot, plan_slot)) {
            Done::Row(row) => row,
            Done::TakenAway => {
                let node = callback(|| moving::node_of(info));
                if moving::insert(node, info, slot) { slot } else { std::ptr::null_mut() }
            }
        }
    }
}

/// ExecForeignDelete.
pub unsafe extern "C-unwind" fn delete(
    _estate: *mut EState,
    info: *mut ResultRelInfo,
    slot: *mut TupleTableSlot,
    plan_slot: *mut TupleTableSlot,
) -> *mut TupleTableSlot {
    // SAFETY: called by the executor; no destructor here.
    unsafe {
        match callback(|| updating::one(info, slot, plan_slot)) {
            Done::Row(row) => row,
            // Only an UPDATE moves rows.
            Done::TakenAway => std::ptr::null_mut(),
        }
    }
}

/// EndForeignModify: nothing is on its way then.
pub unsafe extern "C-unwind" fn end_modify(_estate: *mut EState, _info: *mut ResultRelInfo) {}

/// EndForeignInsert. The first of a statement's relations has all of them send
/// their last rows, then each waits for its own.
pub unsafe extern "C-unwind" fn end_insert(estate: *mut EState, info: *mut ResultRelInfo) {
    // SAFETY: called by the executor; no destructor here.
    unsafe {
        callback(|| {
            buffer::send_all(estate)?;
            match ModifyState::of(info) {
                Some(state) => state.flush_buffer(),
                None => Ok(()),
            }
        })
    }
}
