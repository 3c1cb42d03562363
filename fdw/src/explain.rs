//! What EXPLAIN shows of a foreign scan: node and remote SQL, what was not sent
//! and why, and after it ran what it has asked for and waited for.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::backend::text_of;
use crate::cluster_map;
use crate::error::callback;
use crate::placement::Placement;
use crate::scan::{Effort, Notes, ScanPrivate, ScanState};

/// A plain-old frame.
pub unsafe extern "C-unwind" fn explain_scan(
    state: *mut pg_sys::ForeignScanState,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: called by EXPLAIN with the executor's pointers; no destructor here.
    unsafe {
        callback(|| {
            if (*es).verbose {
                let plan: *mut pg_sys::ForeignScan = (*state).ss.ps.plan.cast();
                let private = ScanPrivate::from_list((*plan).fdw_private);
                node(es, Placement::of_all(&private.relations)?);
                text(es, c"Remote SQL", &private.sql);
                for note in Notes::of((*plan).fdw_private) {
                    text(es, c"Not Shipped", &note);
                }
                if (*es).analyze && !(*state).fdw_state.is_null() {
                    ran(es, ScanState::of(state).effort());
                }
            }
            Ok(())
        })
    }
}

/// Chunks, rows in them, and the time that was waited for them.
unsafe fn ran(es: *mut pg_sys::ExplainState, effort: &Effort) {
    // SAFETY: `es` is EXPLAIN's; guarded.
    unsafe {
        integer(es, c"Remote Requests", effort.requests() as i64);
        integer(es, c"Remote Rows", effort.rows() as i64);
        if (*es).timing {
            let milliseconds = effort.waited().as_secs_f64() * 1000.0;
            pg_sys::ExplainPropertyFloat(
                c"Remote Time".as_ptr(),
                c"ms".as_ptr(),
                milliseconds,
                3,
                es,
            );
        }
    }
}

/// `Node: n2`, or the server's name.
///
/// # Safety
/// `es` is EXPLAIN's.
pub unsafe fn node(es: *mut pg_sys::ExplainState, placement: Placement) {
    // SAFETY: guarded look-up; the result is copied at once.
    let name = match placement {
        Placement::Node(node) => cluster_map::map()
            .and_then(|m| m.endpoint(node).ok())
            .map_or_else(|| node.to_string(), |endpoint| endpoint.name),
        Placement::Server(server) => unsafe {
            text_of((*pg_sys::GetForeignServer(server)).servername)
        },
    };
    // SAFETY: per the contract.
    unsafe { text(es, c"Node", name.as_bytes()) }
}

/// # Safety
/// `es` is EXPLAIN's.
pub unsafe fn text(es: *mut pg_sys::ExplainState, label: &CStr, value: &[u8]) {
    let value = CString::new(value).unwrap_or_default();
    // SAFETY: guarded; both strings are read during the call.
    unsafe { pg_sys::ExplainPropertyText(label.as_ptr(), value.as_ptr(), es) }
}

/// # Safety
/// `es` is EXPLAIN's.
pub unsafe fn integer(es: *mut pg_sys::ExplainState, label: &CStr, value: i64) {
    // SAFETY: guarded; the label is read during the call.
    unsafe { pg_sys::ExplainPropertyInteger(label.as_ptr(), std::ptr::null(), value, es) }
}
