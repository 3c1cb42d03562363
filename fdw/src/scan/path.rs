//! GetForeignPaths: one path, costed without asking the other side.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;

use super::relation::RelationPlan;
use crate::error::callback;

const STARTUP_COST: f64 = 100.0;
const TUPLE_COST: f64 = 0.01;

/// What beginning costs.
pub fn startup_cost(plan: &RelationPlan) -> f64 {
    plan.options.get_number("fdw_startup_cost").unwrap_or(STARTUP_COST)
}

/// What a row costs that travels.
pub fn row_cost(plan: &RelationPlan) -> f64 {
    // SAFETY: reads a setting.
    let here = unsafe { pg_sys::cpu_tuple_cost };
    plan.options.get_number("fdw_tuple_cost").unwrap_or(TUPLE_COST) + here
}

/// What reading the whole relation costs over there.
///
/// # Safety
/// `rel` is the planner's, sized.
pub unsafe fn scan_cost(rel: *const pg_sys::RelOptInfo) -> f64 {
    // SAFETY: per the contract; reads settings.
    unsafe {
        f64::from((*rel).pages) * pg_sys::seq_page_cost + (*rel).tuples * pg_sys::cpu_tuple_cost
    }
}

/// A plain-old frame.
pub unsafe extern "C-unwind" fn get_paths(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    _relid: pg_sys::Oid,
) {
    // SAFETY: called by the planner after get_rel_size; no destructor here.
    unsafe {
        callback(|| {
            let plan = &*(*rel).fdw_private.cast::<RelationPlan>();
            let (startup, per_row, scan) = (startup_cost(plan), row_cost(plan), scan_cost(rel));
            let local = &(*rel).baserestrictcost;
            let total =
                startup + local.startup + scan + plan.retrieved_rows * (per_row + local.per_tuple);
            let path = pg_sys::create_foreignscan_path(
                root,
                rel,
                null_mut(),
                (*rel).rows,
                startup,
                total,
                null_mut(),
                (*rel).lateral_relids,
                null_mut(),
                null_mut(),
            );
            pg_sys::add_path(rel, path.cast());
            Ok(())
        })
    }
}
