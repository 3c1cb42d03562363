//! PostgreSQL's transaction callbacks. COMMIT and ABORT must not raise, and
//! with an xid an error there is a PANIC: their bodies run `quietly`.
#![allow(unsafe_code)]

use std::ffi::c_void;

use pgrx::pg_sys;
use pgrx::pg_sys::{SubXactEvent, XactEvent};

use super::{commit, definitions, flight, idle, registry, subtransaction};
use crate::error::{Refusal, callback, emit, quietly};

/// Registers the callbacks; once, at load.
pub fn init() {
    // SAFETY: guarded calls; the functions live as long as the process.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_transaction), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_subtransaction), std::ptr::null_mut());
    }
    definitions::init();
}

/// Says good-bye to all servers when this process ends; once, with the first
/// session.
pub fn say_goodbye_at_exit() {
    // SAFETY: guarded call; the function lives as long as the process.
    unsafe { pg_sys::on_proc_exit(Some(at_exit), pg_sys::Datum::from(0usize)) }
}

/// A plain-old frame.
unsafe extern "C-unwind" fn at_exit(_code: i32, _arg: pg_sys::Datum) {
    let _ = quietly(|| {
        idle::begin_use();
        for slot in registry::slots() {
            if let Ok(Some(mut session)) = slot.try_lease() {
                session.connection.terminate();
            }
        }
        Ok(())
    });
}

/// A plain-old frame.
unsafe extern "C-unwind" fn at_transaction(event: XactEvent::Type, _arg: *mut c_void) {
    if matches!(event, XactEvent::XACT_EVENT_COMMIT | XactEvent::XACT_EVENT_ABORT) {
        registry::forget_announced();
        flight::heed_cancel_again(event == XactEvent::XACT_EVENT_COMMIT);
    }
    match event {
        // SAFETY: PRE_ events may raise; nothing here has a destructor.
        XactEvent::XACT_EVENT_PRE_COMMIT => unsafe { callback(commit::before_commit) },
        // SAFETY: as above.
        XactEvent::XACT_EVENT_PRE_PREPARE => unsafe { callback(refuse_prepare) },
        XactEvent::XACT_EVENT_COMMIT => {
            if let Err(report) = quietly(commit::after_commit) {
                warn(&report);
            }
            if let Err(report) = quietly(idle::transaction_ended) {
                warn(&report);
            }
        }
        XactEvent::XACT_EVENT_ABORT => {
            if let Err(report) = quietly(commit::after_abort) {
                warn(&report);
            }
            if let Err(report) = quietly(idle::transaction_ended) {
                warn(&report);
            }
        }
        _ => {}
    }
}

/// A plain-old frame.
unsafe extern "C-unwind" fn at_subtransaction(
    event: SubXactEvent::Type,
    _mine: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _arg: *mut c_void,
) {
    match event {
        // SAFETY: PRE_COMMIT_SUB may raise; nothing here has a destructor.
        SubXactEvent::SUBXACT_EVENT_PRE_COMMIT_SUB => unsafe {
            callback(subtransaction::before_release)
        },
        SubXactEvent::SUBXACT_EVENT_ABORT_SUB => {
            if let Err(report) = quietly(subtransaction::after_abort) {
                warn(&report);
            }
        }
        _ => {}
    }
}

fn warn(report: &crate::error::Report) {
    let _ = quietly(|| {
        emit(&report.clone().as_warning());
        Ok(())
    });
}

/// PREPARE TRANSACTION by a user: the participants' second phase could not be
/// tied to a COMMIT PREPARED that comes at any time from any session.
fn refuse_prepare() -> Result<(), crate::error::Error> {
    if registry::participants().is_empty() {
        return Ok(());
    }
    Err(Refusal::not_supported("cannot PREPARE a transaction that has used tables of other nodes")
        .with_hint(
            "COMMIT it: a transaction over several nodes is committed in two phases by itself.",
        )
        .into())
}
