//! LIMIT below an Append.
#![allow(unsafe_code)]

use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;

/// How many rows of a leaf the query can use at most, if that is known.
///
/// The first `count + offset` rows of an Append are among the first
/// `count + offset` rows of each of its children. So each leaf may stop there
/// if nothing between it and the LIMIT drops, multiplies or reorders rows:
/// the FROM clause is this leaf, or the one table (or UNION ALL) it is part of;
/// no grouping, window, DISTINCT, set-returning function or set operation; no
/// ORDER BY, which would choose other rows; no locking, which may skip rows; and
/// no condition on the leaf's rows that is evaluated here, for which the caller
/// vouches. A condition that does not depend on the rows lets all pass or none.
/// Only constants count: core's own estimate may come from a value that differs
/// when the plan runs.
///
/// # Safety
/// `root` is the planner's, after the paths were made.
pub unsafe fn usable_rows(root: *const pg_sys::PlannerInfo) -> Option<i64> {
    // SAFETY: per the contract; guarded.
    unsafe {
        let query = &*(*root).parse;
        let passes_rows_on = query.commandType == pg_sys::CmdType::CMD_SELECT
            && query.limitOption == pg_sys::LimitOption::LIMIT_OPTION_COUNT
            && query.groupClause.is_null()
            && query.groupingSets.is_null()
            && query.distinctClause.is_null()
            && query.sortClause.is_null()
            && query.setOperations.is_null()
            && query.havingQual.is_null()
            && !query.hasAggs
            && !query.hasWindowFuncs
            && !query.hasTargetSRFs
            && query.rowMarks.is_null()
            && (*root).rowMarks.is_null()
            && pg_sys::bms_num_members((*root).all_baserels) == 1;
        if !passes_rows_on {
            return None;
        }
        let count = constant(query.limitCount)?;
        let offset = if query.limitOffset.is_null() { 0 } else { constant(query.limitOffset)? };
        count.checked_add(offset).filter(|n| *n >= 0)
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
