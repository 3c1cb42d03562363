//! LIMIT below an Append or MergeAppend.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;

use super::rescans::plan_writes;
use crate::router::depends_on_rows;

/// A number of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Known.
    Rows(i64),
    /// A bigint expression over the client's parameters.
    Value(*mut pg_sys::Node),
}

impl Bound {
    /// How many of so many rows that will be, at least one.
    pub fn expected(self, of: f64) -> f64 {
        match self {
            Bound::Rows(rows) => of.min(rows.max(1) as f64),
            Bound::Value(_) => (of * UNKNOWN_SHARE).max(1.0),
        }
    }
}

/// What core takes for the share of rows that a LIMIT lets through if it does not know.
const UNKNOWN_SHARE: f64 = 0.1;

/// More rows than there are; two of it still are a bigint.
const ALL_ROWS: i64 = i64::MAX / 2;

/// So many rows of a relation the query can use at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usable {
    /// `count + offset`.
    pub rows: Bound,
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
/// condition that does not depend on the rows lets all pass or none. A value that is
/// not known yet is sent as a parameter; core's own estimate of it may come from a value
/// that differs when the plan runs. In a statement that writes, whose scans must not
/// wait for values, only constants count.
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
        let is_ordered = !query.sortClause.is_null();
        if query.limitCount.is_null() {
            return None;
        }
        let offset = match query.limitOffset.is_null() {
            true => Some(0),
            false => constant(query.limitOffset),
        };
        if let (Some(count), Some(offset)) = (constant(query.limitCount), offset) {
            let rows = count.checked_add(offset).filter(|n| *n >= 0)?;
            return Some(Usable { rows: Bound::Rows(rows), is_ordered });
        }
        if plan_writes(root) {
            return None;
        }
        let count = capped(query.limitCount)?;
        let rows = match query.limitOffset.is_null() {
            true => count,
            false => sum(count, capped(query.limitOffset)?),
        };
        Some(Usable { rows: Bound::Value(rows), is_ordered })
    }
}

/// A bigint over nothing but the client's parameters, and no more than [`ALL_ROWS`],
/// which NULL comes to as well: no LIMIT, and an OFFSET that is not asked for.
unsafe fn capped(node: *mut pg_sys::Node) -> Option<*mut pg_sys::Node> {
    // SAFETY: a valid expression; nodes made here; guarded.
    unsafe {
        if pg_sys::exprType(node) != pg_sys::INT8OID
            || depends_on_rows(node)
            || pg_sys::contain_subplans(node)
            || pg_sys::contain_volatile_functions(node)
        {
            return None;
        }
        let all = pg_sys::makeConst(
            pg_sys::INT8OID,
            -1,
            pg_sys::InvalidOid,
            size_of::<i64>() as i32,
            pg_sys::Datum::from(ALL_ROWS),
            false,
            true,
        );
        let least: *mut pg_sys::MinMaxExpr =
            pg_sys::palloc0(size_of::<pg_sys::MinMaxExpr>()).cast();
        (*least).xpr.type_ = NodeTag::T_MinMaxExpr;
        (*least).minmaxtype = pg_sys::INT8OID;
        (*least).op = pg_sys::MinMaxOp::IS_LEAST;
        let node = pg_sys::copyObjectImpl(node.cast());
        (*least).args = pg_sys::lappend(pg_sys::lappend(null_mut(), node), all.cast());
        (*least).location = -1;
        Some(least.cast())
    }
}

unsafe fn sum(a: *mut pg_sys::Node, b: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: bigint expressions; guarded.
    unsafe {
        let arguments = pg_sys::lappend(pg_sys::lappend(null_mut(), a.cast()), b.cast());
        pg_sys::makeFuncExpr(
            pg_sys::Oid::from(pg_sys::F_INT8PL),
            pg_sys::INT8OID,
            arguments,
            pg_sys::InvalidOid,
            pg_sys::InvalidOid,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        )
        .cast()
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
