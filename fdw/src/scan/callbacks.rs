//! The executor's calls, as plain-old frames.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use super::state::{ScanState, Step};
use crate::error::callback;

/// Not bound by pgrx without a guard. Called from plain-old frames only.
mod raw {
    use pgrx::pg_sys::PlanState;
    unsafe extern "C-unwind" {
        pub fn ExecReScan(node: *mut PlanState);
    }
}

/// Makes the state; only statements that write send something now.
pub unsafe extern "C-unwind" fn begin(node: *mut pg_sys::ForeignScanState, flags: i32) {
    if flags as u32 & pg_sys::EXEC_FLAG_EXPLAIN_ONLY != 0 {
        return;
    }
    // SAFETY: called by the executor; no destructor in this frame.
    unsafe { callback(|| ScanState::begin(node)) }
}

/// The next row, or an empty slot.
pub unsafe extern "C-unwind" fn iterate(
    node: *mut pg_sys::ForeignScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: called by the executor after `begin`; no destructor in this
    // frame, so an error in a parameter's expression keeps all its fields.
    unsafe {
        loop {
            match callback(|| ScanState::of(node).step(node)) {
                Step::Slot => return (*node).ss.ss_ScanTupleSlot,
                Step::Evaluate { context, expressions, values, nulls, count } => {
                    let mut i = 0;
                    while i < count {
                        let state = *expressions.add(i);
                        if let Some(evaluate) = (*state).evalfunc {
                            *values.add(i) = evaluate(state, context, nulls.add(i));
                        }
                        i += 1;
                    }
                }
            }
        }
    }
}

/// From the start again, with the same parameters or new ones.
pub unsafe extern "C-unwind" fn rescan(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: called by the executor after `begin`; no destructor in this frame.
    unsafe {
        if !(*node).fdw_state.is_null() {
            callback(|| {
                ScanState::of(node).rescan(!(*node).ss.ps.chgParam.is_null());
                Ok(())
            })
        }
    }
}

/// Closes the portal with the next request.
pub unsafe extern "C-unwind" fn end(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: called by the executor; the state is null under EXPLAIN.
    unsafe {
        if !(*node).fdw_state.is_null() {
            callback(|| {
                ScanState::of(node).end();
                Ok(())
            })
        }
    }
}

/// Checks a row again: of one relation by conditions that core holds, of a join
/// by joining the rows at hand here.
pub unsafe extern "C-unwind" fn recheck(
    node: *mut pg_sys::ForeignScanState,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: called by the executor; no destructor in this frame. A join that
    // can be checked has its local plan as the outer child, of the same columns.
    unsafe {
        let plan: *mut pg_sys::ForeignScan = (*node).ss.ps.plan.cast();
        let local_join = (*node).ss.ps.lefttree;
        if (*plan).scan.scanrelid > 0 || local_join.is_null() {
            return true;
        }
        if !(*local_join).chgParam.is_null() {
            raw::ExecReScan(local_join);
        }
        let Some(next) = (*local_join).ExecProcNode else { return false };
        let row = next(local_join);
        if row.is_null() || (u32::from((*row).tts_flags) & pg_sys::TTS_FLAG_EMPTY) != 0 {
            return false;
        }
        let Some(clear) = (*(*slot).tts_ops).clear else { return false };
        let Some(copy) = (*(*slot).tts_ops).copyslot else { return false };
        clear(slot);
        copy(slot, row);
        true
    }
}
