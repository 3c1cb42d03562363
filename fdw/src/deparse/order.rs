//! ORDER BY and LIMIT.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag};

use super::parameters::Parameters;
use super::select::make;
use crate::backend::{bytes_of, cells};
use crate::scan::Bound;

/// One item of ORDER BY.
pub struct SortKey {
    /// What to sort by, over relations of the plan.
    pub expression: *mut Node,
    /// The ordering operator, `<` or `>` of the expression's type or another.
    pub operator: pg_sys::Oid,
    /// The equality operator that goes with it.
    pub equality: pg_sys::Oid,
    /// NULLS FIRST
    pub nulls_first: bool,
}

/// Adds ORDER BY to a query that the server prints. `copy` makes of an
/// expression one of the query's own.
///
/// # Safety
/// `query` was made by this module's neighbours; the keys are valid.
pub(super) unsafe fn add_order(
    query: *mut pg_sys::Query,
    keys: &[SortKey],
    mut copy: impl FnMut(*mut Node) -> *mut Node,
) {
    // SAFETY: per the contract; guarded calls, nodes made here.
    unsafe {
        for key in keys {
            let expression = copy(key.expression);
            let entries = (*query).targetList;
            let mut greatest = 0;
            let mut found: *mut pg_sys::TargetEntry = null_mut();
            for entry in cells::<pg_sys::TargetEntry>(entries) {
                greatest = greatest.max((*entry).ressortgroupref);
                if found.is_null() && pg_sys::equal((*entry).expr.cast(), expression.cast()) {
                    found = entry;
                }
            }
            if found.is_null() {
                let number = cells::<Node>(entries).count() as i16 + 1;
                // Junk: it is sorted by and not returned.
                found = pg_sys::makeTargetEntry(expression.cast(), number, null_mut(), true);
                (*query).targetList = pg_sys::lappend(entries, found.cast());
            }
            if (*found).ressortgroupref == 0 {
                (*found).ressortgroupref = greatest + 1;
            }
            let clause: *mut pg_sys::SortGroupClause = make(NodeTag::T_SortGroupClause);
            (*clause).tleSortGroupRef = (*found).ressortgroupref;
            (*clause).eqop = key.equality;
            (*clause).sortop = key.operator;
            (*clause).nulls_first = key.nulls_first;
            (*query).sortClause = pg_sys::lappend((*query).sortClause, clause.cast());
        }
    }
}

/// ` ORDER BY …`, or nothing without keys; `print` makes text of an expression.
///
/// # Safety
/// The keys are valid.
pub(super) unsafe fn order_clause(
    keys: &[SortKey],
    mut print: impl FnMut(*mut Node) -> Vec<u8>,
) -> Vec<u8> {
    let mut items = Vec::new();
    for key in keys {
        // SAFETY: per the contract; guarded look-ups, results are copied at once.
        unsafe {
            let kind = pg_sys::lookup_type_cache(
                pg_sys::exprType(key.expression),
                (pg_sys::TYPECACHE_LT_OPR | pg_sys::TYPECACHE_GT_OPR) as i32,
            );
            let mut item = print(key.expression);
            let nulls: &[u8] = if key.nulls_first { b" NULLS FIRST" } else { b" NULLS LAST" };
            if key.operator == (*kind).gt_opr {
                item.extend(b" DESC");
                item.extend(if key.nulls_first { b"" } else { nulls });
            } else if key.operator == (*kind).lt_opr {
                item.extend(if key.nulls_first { nulls } else { b"" });
            } else {
                // Where NULLs go by default depends on the operator.
                item.extend(b" USING OPERATOR(pg_catalog.");
                item.extend(bytes_of(pg_sys::get_opname(key.operator)));
                item.push(b')');
                item.extend(nulls);
            }
            items.push(item);
        }
    }
    if items.is_empty() {
        return Vec::new();
    }
    [&b" ORDER BY "[..], &items.join(&b", "[..])].concat()
}

/// ` LIMIT n`, or ` LIMIT $n`
pub fn limit_clause(bound: Bound, parameters: &mut Parameters) -> Vec<u8> {
    match bound {
        Bound::Rows(rows) => format!(" LIMIT {rows}"),
        Bound::Value(value) => {
            // SAFETY: the planner's expression over parameters; a Param comes back.
            let parameter = unsafe { parameters.value(value).cast::<pg_sys::Param>() };
            // SAFETY: as above.
            format!(" LIMIT ${}", unsafe { (*parameter).paramid })
        }
    }
    .into_bytes()
}
