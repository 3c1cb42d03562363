//! What EXPLAIN shows of a foreign scan: node and remote SQL.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::backend::text_of;
use crate::cluster_map;
use crate::error::callback;
use crate::placement::Placement;
use crate::scan::ScanPrivate;

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
            }
            Ok(())
        })
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
