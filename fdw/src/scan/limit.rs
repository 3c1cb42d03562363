//! LIMIT below an Append or MergeAppend.
#![allow(unsafe_code)]

use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;

/// So many rows of a relation the query can use at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usable {
    /// `count + offset`.
    pub rows: i64,
    /// They are the first in the order of the query's ORDER BY; else any will do.
    pub is_ordered: bool,
}

/// How many rows of a relation the query can use at most, if that is known.
///
/// The first `count + offset` rows of an Append, in whatever order is asked for,
/// are among the first `count + offset` rows of each of its children in the same
/// order. So each leaf may stop there if nothing between it and the LIMIT drops or
/// multiplies rows: the FROM clause is this relation, or the one relation (or UNION
/// ALL, or join of partitions) that it is part of; no grouping, window, DISTINCT,
/// set-returning function or set operation; no locking, which may skip rows; and no
/// condition on the rows that is evaluated here, for which the caller vouches. A
/// condition that does not depend on the rows lets all pass or none. Only constants
/// count: core's own estimate may come from a value that differs when the plan runs.
///
/// # Safety
/// The planner's pointers; `root` knows its base relations.
pub unsafe fn usable_rows(
    root: *const pg_sys::PlannerInfo,
    rel: *const pg_sys::RelOptInfo,
) -> Option<Usable> {
    // SAFETY: per the contract; guarded.
    unsafe {
        let query = &*(*root).parse;
        let family = if (*rel).top_parent_relids.is_null() {
            (*rel).relids
        } else {
            (*rel).top_parent_relids
        };
        let passes_rows_on = query.groupClause.is_null()
            && query.havingQual.is_null()
            && !query.hasAggs
            && pg_sys::bms_equal(family, (*root).all_baserels);
        if passes_rows_on { bound(root) } else { None }
    }
}

/// The same of groups that are groups of the query.
///
/// # Safety
/// As [`usable_rows`].
pub unsafe fn usable_groups(root: *const pg_sys::PlannerInfo) -> Option<Usable> {
    // SAFETY: per the contract.
    unsafe { bound(root) }
}

/// What LIMIT says of the rows that reach it, if what comes before passes on each
/// row of a relation or group.
unsafe fn bound(root: *const pg_sys::PlannerInfo) -> Option<Usable> {
    // SAFETY: the caller's.
    unsafe {
        let query = &*(*root).parse;
        let passes_rows_on = query.commandType == pg_sys::CmdType::CMD_SELECT
            && query.limitOption == pg_sys::LimitOption::LIMIT_OPTION_COUNT
            && query.groupingSets.is_null()
            && query.distinctClause.is_null()
            && query.setOperations.is_null()
            && !query.hasWindowFuncs
            && !query.hasTargetSRFs
            && query.rowMarks.is_null()
            && (*root).rowMarks.is_null();
        if !passes_rows_on {
            return None;
        }
        let count = constant(query.limitCount)?;
        let offset = if query.limitOffset.is_null() { 0 } else { constant(query.limitOffset)? };
        let rows = count.checked_add(offset).filter(|n| *n >= 0)?;
        Some(Usable { rows, is_ordered: !query.sortClause.is_null() })
    }
}

/// The value of a bigint constant that is not negative or NULL.
unsafe fn constant(node: *mut pg_sys::Node) -> Option<i64> {
    // SAFETY: null or a valid expression; the cast follows the tag.
    unsafe {
        if node.is_null() || (*node).type_ != NodeTag::T_Const {
            return None;
        }
        let c = &*node.cast::<pg_sys::Const>();
        let value = c.constvalue.value() as i64;
        (!c.constisnull && c.consttype == pg_sys::INT8OID && value >= 0).then_some(value)
    }
}
