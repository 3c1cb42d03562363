//! GetForeignPaths: as it comes, and in the order that the query wants.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;

use super::limit::{Usable, usable_rows};
use super::order::{is_column, sort_keys};
use super::parameterised::add_parameterised_paths;
use super::relation::RelationPlan;
use super::source::Source;
use crate::deparse::SortKey;
use crate::error::callback;
use crate::shippable::is_comparable;

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

/// What the other side's sorting makes a scan dearer by, when it is not known
/// whether an index has the order.
const SORT_FACTOR: f64 = 1.2;

/// A plain-old frame.
pub unsafe extern "C-unwind" fn get_paths(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    _relid: pg_sys::Oid,
) {
    // SAFETY: called by the planner after get_rel_size; no destructor here.
    unsafe {
        callback(|| {
            add_paths(root, rel);
            add_parameterised_paths(root, rel);
            Ok(())
        })
    }
}

unsafe fn add_paths(root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) {
    // SAFETY: the planner's pointers; guarded.
    unsafe {
        let plan = &*(*rel).fdw_private.cast::<RelationPlan>();
        let (startup, per_row, scan) = (startup_cost(plan), row_cost(plan), scan_cost(rel));
        let scan = plan.asked.map_or(scan, |asked| asked.total);
        let local = &(*rel).baserestrictcost;
        let startup_here = startup + local.startup;
        let per_row = per_row + local.per_tuple;
        let add = |rows: f64, startup: f64, total: f64, pathkeys: *mut pg_sys::List| {
            let path = pg_sys::create_foreignscan_path(
                root,
                rel,
                null_mut(),
                rows,
                startup,
                total,
                pathkeys,
                (*rel).lateral_relids,
                null_mut(),
                null_mut(),
            );
            pg_sys::add_path(rel, path.cast());
        };
        let can_sort = relation_order(root, rel, (*root).query_pathkeys).is_some();
        if can_sort
            && plan.has_no_local_conditions(rel)
            && let Some(Usable { rows, is_ordered: true }) = usable_rows(root, rel)
        {
            // The whole relation is sorted there at worst, and few rows travel.
            let rows = rows.expected((*rel).rows);
            let startup = startup_here + scan;
            add(rows, startup, startup + rows * per_row, (*root).query_pathkeys);
            return;
        }
        let run = scan + plan.retrieved_rows * per_row;
        add((*rel).rows, startup, startup_here + run, null_mut());
        if can_sort {
            let run = run * SORT_FACTOR;
            add((*rel).rows, startup, startup_here + run, (*root).query_pathkeys);
        }
    }
}

/// The order `pathkeys` of a leaf or foreign table as it is sent; `None` if it is
/// not sent.
///
/// With conditions that stay here only bare columns are sorted by: another
/// expression might fail for a row that the conditions would have dropped.
///
/// # Safety
/// The planner's pointers; `rel` has a [`RelationPlan`].
pub unsafe fn relation_order(
    root: *const pg_sys::PlannerInfo,
    rel: *const pg_sys::RelOptInfo,
    pathkeys: *mut pg_sys::List,
) -> Option<Vec<SortKey>> {
    // SAFETY: per the contract; guarded.
    unsafe {
        let plan = &*(*rel).fdw_private.cast::<RelationPlan>();
        // What was sorted before it was locked may have changed in between: that
        // is nothing new for a query's own order, but would upset a merge join.
        let is_alone = pg_sys::bms_num_members((*root).all_baserels) == 1;
        if pathkeys.is_null() || (plan.locks_rows && !is_alone) {
            return None;
        }
        let there = plan.placement;
        let only_columns = !plan.has_no_local_conditions(rel);
        sort_keys(root, rel, pathkeys, |expression| {
            (!only_columns || is_column(expression))
                && is_comparable(expression, (*rel).relids, there, false).is_ok()
        })
    }
}

/// The order `pathkeys` of joined leaves as it is sent; `None` if it is not sent.
///
/// # Safety
/// The planner's pointers; `rel` is a join with a [`Source`].
pub unsafe fn join_order(
    root: *const pg_sys::PlannerInfo,
    rel: *const pg_sys::RelOptInfo,
    pathkeys: *mut pg_sys::List,
) -> Option<Vec<SortKey>> {
    // SAFETY: per the contract; guarded.
    unsafe {
        let source = &*(*rel).fdw_private.cast::<Source>();
        // Not those that are only looked into.
        let visible = source.from.relids();
        sort_keys(root, rel, pathkeys, |expression| {
            (source.local_conditions.is_null() || is_column(expression))
                && is_comparable(expression, visible, source.placement, false).is_ok()
        })
    }
}

/// Adds, with `add` (rows, startup cost, total cost, pathkeys), the path of a join
/// in the order that the query wants. `total` is the cost without order.
///
/// # Safety
/// As [`join_order`].
pub unsafe fn add_sorted_join_path(
    root: *const pg_sys::PlannerInfo,
    rel: *const pg_sys::RelOptInfo,
    total: f64,
    row_cost: f64,
    add: impl Fn(f64, f64, f64, *mut pg_sys::List),
) {
    // SAFETY: per the contract; guarded.
    unsafe {
        let pathkeys = (*root).query_pathkeys;
        if pathkeys.is_null() || join_order(root, rel, pathkeys).is_none() {
            return;
        }
        let all_sent = (*(*rel).fdw_private.cast::<Source>()).local_conditions.is_null();
        match usable_rows(root, rel).filter(|_| all_sent) {
            Some(Usable { rows, is_ordered: true }) => {
                let rows = rows.expected((*rel).rows);
                let startup = total - (*rel).rows * row_cost;
                add(rows, startup, startup + rows * row_cost, pathkeys);
            }
            // Sorted before the first row travels.
            _ => add((*rel).rows, total, total * SORT_FACTOR, pathkeys),
        }
    }
}
