//! Commits pass the gate: in at PRE_COMMIT, out when the second phase is over.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::c_void;
use std::time::{Duration, Instant};

use pgrx::prelude::*;

use super::memory::gate;
use super::state::Gate;
use super::{closing, state};
use crate::report::Report;

thread_local! {
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
    static IS_IN_LINE: Cell<bool> = const { Cell::new(false) };
    static PASSES_FREELY: Cell<bool> = const { Cell::new(false) };
}

/// The transactions of this process write nothing that a snapshot of the cluster
/// is about: those of our own workers, which the closing of a gate may wait for.
pub fn pass_freely() {
    PASSES_FREELY.set(true);
}

/// Registers the callback. It must be registered before the one of `fdw`:
/// callbacks run in reverse order, and this one is to come last, when all is
/// prepared, and again when the second phase is over.
pub fn init() {
    // SAFETY: a plain function that lives as long as the process.
    unsafe { pg_sys::RegisterXactCallback(Some(at_transaction), std::ptr::null_mut()) }
}

/// A plain-old frame.
unsafe extern "C-unwind" fn at_transaction(event: pg_sys::XactEvent::Type, _argument: *mut c_void) {
    use pg_sys::XactEvent::{
        XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PRE_COMMIT, XACT_EVENT_PREPARE,
    };
    match event {
        XACT_EVENT_PRE_COMMIT => {
            // SAFETY: reads the backend's state; PRE_COMMIT may raise, and this
            // frame has nothing to drop.
            unsafe {
                if pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId {
                    fdw::callback(|| Ok(enter()?));
                }
            }
        }
        XACT_EVENT_COMMIT | XACT_EVENT_ABORT | XACT_EVENT_PREPARE => {
            leave_line();
            leave();
            closing::open();
        }
        _ => {}
    }
}

fn enter() -> Result<(), Report> {
    let Some(gate) = gate() else { return Ok(()) };
    if PASSES_FREELY.get() || !may_concern_us() {
        return Ok(());
    }
    // Its own snapshot is not of interest any more.
    closing::open();
    loop {
        if gate.enter() {
            IS_INSIDE.set(true);
            return Ok(());
        }
        wait_for_opening(gate);
    }
}

/// Bounded: leases run out. The wait may end with the session, which drops
/// nothing in this frame; but it aborts the transaction.
fn wait_for_opening(gate: &Gate) {
    IS_IN_LINE.set(true);
    gate.join_line();
    let until = gate.closed_until().map_or(0, |until| until.saturating_sub(state::now()));
    let deadline = Instant::now() + Duration::from_millis(until);
    gate.wait_until(deadline, Duration::from_millis(100), || !gate.is_closed());
    leave_line();
}

/// Raises nothing.
fn leave_line() {
    if IS_IN_LINE.replace(false)
        && let Some(gate) = gate()
    {
        gate.leave_line();
    }
}

/// Raises nothing.
fn leave() {
    if IS_INSIDE.replace(false)
        && let Some(gate) = gate()
    {
        gate.leave();
    }
}

/// Sessions of users and nodes, and workers that others wrote, in the cluster's
/// database.
fn may_concern_us() -> bool {
    // SAFETY: reads a variable of the backend.
    let kind = unsafe { pg_sys::MyBackendType };
    let writes = matches!(kind, pg_sys::BackendType::B_BACKEND | pg_sys::BackendType::B_BG_WORKER);
    writes && crate::in_cluster_database()
}
