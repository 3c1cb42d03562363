//! What EXPLAIN shows of a routed statement: its node, and what runs there; of one
//! that is run for each partition, of their first.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;

use super::callbacks::{RouterScan, prepare};
use super::running::{Place, Running};
use crate::cluster_map;
use crate::error::callback;
use crate::explain::{integer, node as show_node, text};
use crate::placement::Placement;

mod raw {
    use pgrx::pg_sys;
    unsafe extern "C-unwind" {
        pub fn ExplainPrintPlan(es: *mut pg_sys::ExplainState, query: *mut pg_sys::QueryDesc);
    }
}

/// A plain-old frame.
pub unsafe extern "C-unwind" fn explain(
    node: *mut pg_sys::CustomScanState,
    _ancestors: *mut pg_sys::List,
    es: *mut pg_sys::ExplainState,
) {
    let node: *mut RouterScan = node.cast();
    // SAFETY: called by EXPLAIN with the executor's pointers; no destructor is live
    // in this frame.
    unsafe {
        if !callback(|| Ok(may_be_prepared(node, es))) {
            return;
        }
        callback(|| {
            if let Some(partitions) = Running::of(node).partitions() {
                integer(es, c"Partitions", i64::from(partitions));
            }
            Ok(())
        });
        prepare(node);
        let here = callback(|| {
            Ok(match Running::of(node).place() {
                Place::Here(query) => {
                    if let Some(local) = cluster_map::map().and_then(|map| map.local_node()) {
                        show_node(es, Placement::Node(local));
                    }
                    query
                }
                Place::There { leaves, sql } => {
                    show_node(es, Placement::of_all(&leaves)?);
                    text(es, c"Remote SQL", &sql);
                    null_mut()
                }
                Place::Unknown => null_mut(),
            })
        });
        if !here.is_null() {
            // The leaf's plan has a range table of its own.
            let outer = (
                (*es).pstmt,
                (*es).rtable,
                (*es).rtable_names,
                (*es).deparse_cxt,
                (*es).printed_subplans,
            );
            raw::ExplainPrintPlan(es, here);
            ((*es).pstmt, (*es).rtable, (*es).rtable_names) = (outer.0, outer.1, outer.2);
            ((*es).deparse_cxt, (*es).printed_subplans) = (outer.3, outer.4);
        }
    }
}

/// Whether the parameters may be evaluated: a statement that was run has done so; one
/// that is only shown must not draw from a sequence.
unsafe fn may_be_prepared(node: *mut RouterScan, es: *mut pg_sys::ExplainState) -> bool {
    // SAFETY: EXPLAIN's pointers; guarded.
    unsafe {
        let plan: *mut pg_sys::CustomScan = (*node).scan.ss.ps.plan.cast();
        Running::of(node).is_ready()
            || (!(*es).analyze && !pg_sys::contain_volatile_functions((*plan).custom_exprs.cast()))
    }
}
