//! Execution of a direct modification: the scan's machinery with another
//! statement. One row comes back for each row of RETURNING, a count otherwise.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use crate::backend::cells;
use crate::error::callback;
use crate::scan::{self, ScanState};

/// IterateDirectModify. A plain-old frame.
pub unsafe extern "C-unwind" fn iterate_direct(
    node: *mut pg_sys::ForeignScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: called by the executor after `begin`; no destructor here, and the
    // scan's frame is a plain-old one, too.
    unsafe {
        let slot = scan::iterate(node);
        callback(|| {
            count(node, slot);
            Ok(())
        });
        slot
    }
}

unsafe fn count(node: *mut pg_sys::ForeignScanState, slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: the executor's pointers; PlanDirectModify put the flag last.
    unsafe {
        let is_empty = (*slot).tts_flags as u32 & pg_sys::TTS_FLAG_EMPTY != 0;
        let projection = (*(*node).resultRelInfo).ri_projectReturning;
        let rows = if projection.is_null() {
            ScanState::of(node).take_affected()
        } else {
            u64::from(!is_empty)
        };
        let plan: *mut pg_sys::ForeignScan = (*node).ss.ps.plan.cast();
        let flag = cells::<pg_sys::Integer>((*plan).fdw_private).last();
        if flag.is_some_and(|f| (*f).ival != 0) {
            (*(*node).ss.ps.state).es_processed += rows;
        }
        if projection.is_null() {
            if let Some(instrument) = (*node).ss.ps.instrument.as_mut() {
                instrument.tuplecount += rows as f64;
            }
        } else if !is_empty {
            (*(*projection).pi_exprContext).ecxt_scantuple = slot;
        }
    }
}
