//! Grouping and aggregates over a leaf or leaves joined on one node: what of it runs there.
//!
//! Whole (`UPPERREL_GROUP_AGG`): each group of the leaf is a group of the query.
//! Partial (`UPPERREL_PARTIAL_GROUP_AGG`): the leaf returns transition states,
//! and PostgreSQL finalises them here with those of the other leaves. Core asks
//! only if every aggregate can be combined, and its state serialised.
//!
//! The remote target list holds grouping expressions and aggregate calls and
//! nothing else; what the query makes of them is computed here, in the scan's
//! projection.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag};

use super::source::Source;
use crate::backend::cells;
use crate::deparse::state_function;
use crate::placement::Placement;
use crate::shippable::{NotShippable, StateForm, is_comparable, is_shippable_grouped, state_form};
use crate::types::is_builtin;

/// What is sent for a grouped leaf; all expressions are over its source.
pub struct Grouping {
    /// TargetEntries, see `deparse::RemoteQuery`.
    pub target_list: *mut pg_sys::List,
    /// HAVING that is sent.
    pub having: *mut pg_sys::List,
    /// HAVING that stays here.
    pub local_having: *mut pg_sys::List,
    /// Its groups are groups of the query, not parts of them.
    pub is_whole: bool,
}

fn no<T>(reason: &'static str) -> Result<T, NotShippable> {
    Err(NotShippable { reason })
}

/// What would be sent, or why nothing is. `having` is the relation's, with its
/// own Vars; null for a partial relation, whose groups are not complete.
///
/// # Safety
/// The planner's pointers; `source` is what the groups are made of.
pub unsafe fn grouping(
    root: *mut pg_sys::PlannerInfo,
    source: &Source,
    target: *const pg_sys::PathTarget,
    having: *mut pg_sys::List,
    is_whole: bool,
) -> Result<Grouping, NotShippable> {
    // SAFETY: per the contract; guarded.
    unsafe {
        let query = &*(*root).parse;
        let mut made = by_clauses(root, source, target, query.groupClause, having)?;
        made.is_whole = is_whole;
        Ok(made)
    }
}

/// What would be sent for SELECT DISTINCT, or why nothing is.
///
/// # Safety
/// As [`grouping`].
pub unsafe fn distinct(
    root: *mut pg_sys::PlannerInfo,
    source: &Source,
    target: *const pg_sys::PathTarget,
) -> Result<Grouping, NotShippable> {
    // SAFETY: per the contract.
    unsafe { by_clauses(root, source, target, (*(*root).parse).distinctClause, null_mut()) }
}

unsafe fn by_clauses(
    root: *mut pg_sys::PlannerInfo,
    source: &Source,
    target: *const pg_sys::PathTarget,
    clauses: *mut pg_sys::List,
    having: *mut pg_sys::List,
) -> Result<Grouping, NotShippable> {
    // SAFETY: as in `grouping`; guarded.
    unsafe {
        let query = &*(*root).parse;
        if !query.groupingSets.is_null() {
            return no("it has grouping sets");
        }
        if !(*root).rowMarks.is_null() {
            return no("rows are locked");
        }
        let relids = source.relids();
        let mut made = Grouping {
            target_list: null_mut(),
            having: null_mut(),
            local_having: null_mut(),
            is_whole: false,
        };
        let mut rest = Vec::new();
        let target = &*target;
        for (i, expression) in cells::<Node>(target.exprs).enumerate() {
            let reference =
                if target.sortgrouprefs.is_null() { 0 } else { *target.sortgrouprefs.add(i) };
            let clause = match reference {
                0 => null_mut(),
                _ => pg_sys::get_sortgroupref_clause_noerr(reference, clauses),
            };
            if clause.is_null() {
                rest.push(expression);
                continue;
            }
            // A bare parameter would be taken for the column when the plan's
            // references are resolved.
            if matches!((*expression).type_, NodeTag::T_Param | NodeTag::T_Const) {
                return no("it groups by a value that is no column");
            }
            if !is_builtin((*clause).eqop) {
                return no("it groups by an operator that is not built in");
            }
            // A comparison takes its collation from the expression over there.
            is_comparable(expression, relids, source.placement, false)?;
            let number = list_length(made.target_list) as i16 + 1;
            let entry = pg_sys::makeTargetEntry(expression.cast(), number, null_mut(), false);
            (*entry).ressortgroupref = reference;
            made.target_list = pg_sys::lappend(made.target_list, entry.cast());
        }
        for expression in rest {
            made.take_in(expression, source)?;
        }
        for condition in cells::<Node>(having) {
            let is_sent = is_shippable_grouped(condition, relids, source.placement).is_ok()
                && !has_foreign_vars(condition, made.target_list);
            if is_sent {
                made.having = pg_sys::lappend(made.having, condition.cast());
            } else {
                made.take_in(condition, source)?;
                made.local_having = pg_sys::lappend(made.local_having, condition.cast());
            }
        }
        if made.target_list.is_null() {
            return no("nothing of it comes from the rows");
        }
        Ok(made)
    }
}

/// Of a list that may be NIL.
unsafe fn list_length(list: *const pg_sys::List) -> i32 {
    // SAFETY: null or a valid list.
    if list.is_null() { 0 } else { unsafe { (*list).length } }
}

impl Grouping {
    /// Whether an expression can be computed over there from a group: it has no
    /// columns but those grouped by and those in aggregates.
    ///
    /// # Safety
    /// `expression` is a valid expression of the planner.
    pub unsafe fn computes(&self, expression: *mut Node) -> bool {
        // SAFETY: per the contract.
        unsafe { !has_foreign_vars(expression, self.target_list) }
    }

    /// Adds the aggregate calls of an expression to the target list.
    unsafe fn take_in(
        &mut self,
        expression: *mut Node,
        source: &Source,
    ) -> Result<(), NotShippable> {
        // SAFETY: a valid expression; guarded.
        unsafe {
            let mut found = Parts { grouped: self.target_list, calls: null_mut(), has_var: false };
            parts(expression, (&raw mut found).cast());
            if found.has_var {
                // Right only by functional dependence, which the other side
                // might not be able to prove.
                return no("it returns a column that it does not group by");
            }
            for call in cells::<pg_sys::Aggref>(found.calls) {
                is_shippable_grouped(call.cast(), source.relids(), source.placement)?;
                let is_partial = (*call).aggsplit != pg_sys::AggSplit::AGGSPLIT_SIMPLE;
                if is_partial && state_form(call)? == StateForm::Marked {
                    if matches!(source.placement, Placement::Server(_)) {
                        return no("only a node returns the state of an aggregate");
                    }
                    if state_function().is_none() {
                        return no("the extension here is too old to ask for the state");
                    }
                }
                let calls = pg_sys::lappend(null_mut(), call.cast());
                self.target_list = pg_sys::add_to_flat_tlist(self.target_list, calls);
            }
            Ok(())
        }
    }
}

unsafe fn has_foreign_vars(expression: *mut Node, grouped: *mut pg_sys::List) -> bool {
    let mut found = Parts { grouped, calls: null_mut(), has_var: false };
    // SAFETY: a valid expression and the walker's own context.
    unsafe { parts(expression, (&raw mut found).cast()) };
    found.has_var
}

/// What an expression over groups consists of.
struct Parts {
    /// TargetEntries whose expressions are taken whole.
    grouped: *mut pg_sys::List,
    /// Aggrefs.
    calls: *mut pg_sys::List,
    /// A column that is in none of them.
    has_var: bool,
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn parts(node: *mut Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: `context` is a Parts of this module; casts follow the tag.
    unsafe {
        let found = &mut *context.cast::<Parts>();
        match (*node).type_ {
            NodeTag::T_Aggref => {
                found.calls = pg_sys::lappend(found.calls, node.cast());
                return false;
            }
            _ if !pg_sys::tlist_member(node.cast(), found.grouped).is_null() => return false,
            NodeTag::T_Var | NodeTag::T_PlaceHolderVar => {
                found.has_var = true;
                return true;
            }
            _ => {}
        }
        pg_sys::expression_tree_walker(node, Some(parts), context)
    }
}
