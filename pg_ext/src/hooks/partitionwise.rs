//! `enable_partitionwise_aggregate` and `enable_partitionwise_join`, on for the
//! length of one planning.
//!
//! The variables behind the settings are written directly: a nest level of
//! settings costs every statement several walks over all of them. What an error
//! in planning leaves behind is put right when its (sub)transaction aborts,
//! which is before anything else is planned.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::c_void;

use pgrx::prelude::*;

/// What was in force before a planning began.
#[derive(Clone, Copy)]
struct Before {
    /// Of transactions, when it began.
    nest_level: i32,
    aggregate: bool,
    join: bool,
}

thread_local! {
    /// Plannings under way, the outermost first: one may run another.
    static UNDER_WAY: RefCell<Vec<Before>> = const { RefCell::new(Vec::new()) };
}

/// Registers what puts an error right. Called once, at load.
pub fn init() {
    // SAFETY: plain functions that raise nothing.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_transaction), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_subtransaction), std::ptr::null_mut());
    }
}

/// Switches both on; to be followed by [`switch_back`].
pub fn switch_on() {
    // SAFETY: the backend's own variables; guarded.
    unsafe {
        let before = Before {
            nest_level: pg_sys::GetCurrentTransactionNestLevel(),
            aggregate: pg_sys::enable_partitionwise_aggregate,
            join: pg_sys::enable_partitionwise_join,
        };
        UNDER_WAY.with_borrow_mut(|plannings| plannings.push(before));
        pg_sys::enable_partitionwise_aggregate = true;
        pg_sys::enable_partitionwise_join = true;
    }
}

/// Ends what the last [`switch_on`] began. Raises nothing.
pub fn switch_back() {
    restore(UNDER_WAY.with_borrow_mut(Vec::pop));
}

fn restore(before: Option<Before>) {
    if let Some(before) = before {
        // SAFETY: the backend's own variables.
        unsafe {
            pg_sys::enable_partitionwise_aggregate = before.aggregate;
            pg_sys::enable_partitionwise_join = before.join;
        }
    }
}

/// Ends all plannings that began at this nest level of transactions or deeper.
fn give_up(nest_level: i32) {
    restore(UNDER_WAY.with_borrow_mut(|plannings| {
        let first = plannings.iter().position(|planning| planning.nest_level >= nest_level)?;
        plannings.drain(first..).next()
    }));
}

unsafe extern "C-unwind" fn at_transaction(event: pg_sys::XactEvent::Type, _argument: *mut c_void) {
    if event == pg_sys::XactEvent::XACT_EVENT_ABORT {
        give_up(0);
    }
}

unsafe extern "C-unwind" fn at_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    _mine: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _argument: *mut c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        // SAFETY: reads the backend's transaction state; raises nothing.
        give_up(unsafe { pg_sys::GetCurrentTransactionNestLevel() });
    }
}
