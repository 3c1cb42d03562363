//! Paths that get a value from the outer side of a nested loop: join clauses are
//! sent as conditions with parameters.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag};

use super::path::{row_cost, scan_cost, startup_cost};
use super::relation::RelationPlan;
use super::rescans::plan_writes;
use crate::backend::cells;
use crate::shippable::is_shippable_with_outer;

/// What one more execution costs, as a part of the first one's start-up: the
/// session and its remote transaction are there, the statement is prepared.
const REPEATED: f64 = 0.15;

/// Blocks read for a row that an index finds: several rows share one.
const FOUND_ROW: f64 = 0.25;

/// Whether a join clause may be evaluated over there, columns of other relations
/// being parameters. A statement that writes must not wait for values: what it
/// reads then would have been written since.
///
/// # Safety
/// The planner's pointers; `rel` has a [`RelationPlan`].
pub unsafe fn ships_with_parameters(
    root: *const pg_sys::PlannerInfo,
    rel: *const pg_sys::RelOptInfo,
    clause: *const pg_sys::RestrictInfo,
) -> bool {
    // SAFETY: per the contract; guarded.
    unsafe {
        let plan = &*(*rel).fdw_private.cast::<RelationPlan>();
        let there = plan.placement;
        let keeps_secrets =
            (*clause).security_level <= (*rel).baserestrict_min_security || (*clause).leakproof;
        keeps_secrets
            && !(*clause).pseudoconstant
            && !plan_writes(root)
            && is_shippable_with_outer((*clause).clause.cast(), (*rel).relid, there).is_ok()
    }
}

/// Adds a path for each set of outer relations that could supply parameters.
///
/// # Safety
/// The planner's pointers; `rel` has a [`RelationPlan`] and is sized.
pub unsafe fn add_parameterised_paths(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
) {
    // SAFETY: per the contract; guarded.
    unsafe {
        if plan_writes(root) || ((*rel).joininfo.is_null() && !(*rel).has_eclass_joins) {
            return;
        }
        let mut found: *mut pg_sys::List = null_mut();
        let mut look_at = |clauses: *mut pg_sys::List| {
            for clause in cells::<pg_sys::RestrictInfo>(clauses) {
                if !pg_sys::join_clause_is_movable_to(clause, rel)
                    || !ships_with_parameters(root, rel, clause)
                {
                    continue;
                }
                let outer = pg_sys::bms_union((*clause).clause_relids, (*rel).lateral_relids);
                let outer = pg_sys::bms_del_member(outer, (*rel).relid as i32);
                if pg_sys::bms_num_members(outer) > 0 {
                    let parameters = pg_sys::get_baserel_parampathinfo(root, rel, outer);
                    found = pg_sys::list_append_unique_ptr(found, parameters.cast());
                }
            }
        };
        look_at((*rel).joininfo);
        if (*rel).has_eclass_joins {
            let mut members = Members { seen: null_mut(), current: null_mut() };
            loop {
                members.current = null_mut();
                let clauses = pg_sys::generate_implied_equalities_for_column(
                    root,
                    rel,
                    Some(is_member),
                    (&raw mut members).cast(),
                    (*rel).lateral_referencers,
                );
                if members.current.is_null() {
                    break;
                }
                look_at(clauses);
                members.seen = pg_sys::lappend(members.seen, members.current.cast());
            }
        }
        for parameters in cells::<pg_sys::ParamPathInfo>(found) {
            add_path(root, rel, parameters);
        }
    }
}

unsafe fn add_path(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    parameters: *const pg_sys::ParamPathInfo,
) {
    // SAFETY: the planner's pointers; guarded.
    unsafe {
        let plan = &*(*rel).fdw_private.cast::<RelationPlan>();
        let rows = (*parameters).ppi_rows;
        let mut equal_to: Vec<i16> = Vec::new();
        for clause in cells::<pg_sys::RestrictInfo>((*parameters).ppi_clauses) {
            if ships_with_parameters(root, rel, clause) {
                equal_to.extend(compared_column(rel, clause));
            }
        }
        let scan = scan_cost(rel);
        let is_found = equal_to.iter().any(|column| plan.indexed.contains(column));
        let work = match is_found {
            true => scan.min(pg_sys::random_page_cost + rows * FOUND_ROW * pg_sys::seq_page_cost),
            false => scan,
        };
        let startup = startup_cost(plan) * REPEATED;
        let run = work + rows * (row_cost(plan) + (*rel).baserestrictcost.per_tuple);
        // Of all partitions only one is asked each time.
        let share = share_of_executions(root, rel, &equal_to);
        let path = pg_sys::create_foreignscan_path(
            root,
            rel,
            null_mut(),
            rows,
            startup * share,
            (startup + run) * share,
            null_mut(),
            (*parameters).ppi_req_outer,
            null_mut(),
            null_mut(),
        );
        pg_sys::add_path(rel, path.cast());
    }
}

/// The column that an equality compares with something of other relations.
unsafe fn compared_column(
    rel: *const pg_sys::RelOptInfo,
    clause: *const pg_sys::RestrictInfo,
) -> Option<i16> {
    // SAFETY: the planner's pointers; casts follow the tags.
    unsafe {
        let expression = (*clause).clause.cast::<Node>();
        if (*clause).mergeopfamilies.is_null() || (*expression).type_ != NodeTag::T_OpExpr {
            return None;
        }
        cells::<Node>((*expression.cast::<pg_sys::OpExpr>()).args).find_map(|side| {
            let side = pg_sys::strip_implicit_coercions(side);
            let variable: *const pg_sys::Var = side.cast();
            let is_ours =
                (*side).type_ == NodeTag::T_Var && (*variable).varno as u32 == (*rel).relid;
            is_ours.then(|| (*variable).varattno)
        })
    }
}

/// How many of the nested loop's rounds reach this relation: all, unless it is one
/// of several partitions and the compared columns choose among them.
unsafe fn share_of_executions(
    root: *const pg_sys::PlannerInfo,
    rel: *const pg_sys::RelOptInfo,
    equal_to: &[i16],
) -> f64 {
    // SAFETY: the planner's arrays have entries for child relations and parents;
    // the parent's key has as many lists of expressions as it has columns.
    unsafe {
        if (*rel).reloptkind != pg_sys::RelOptKind::RELOPT_OTHER_MEMBER_REL {
            return 1.0;
        }
        let link = *(*root).append_rel_array.add((*rel).relid as usize);
        let parent = *(*root).simple_rel_array.add((*link).parent_relid as usize);
        if (*parent).part_scheme.is_null() || (*parent).partexprs.is_null() {
            return 1.0;
        }
        let is_chosen_by = |expression: *mut Node| {
            if (*expression).type_ != NodeTag::T_Var {
                return false;
            }
            let number = (*expression.cast::<pg_sys::Var>()).varattno;
            let here = cells::<Node>((*link).translated_vars).nth(number.max(1) as usize - 1);
            here.is_some_and(|here| {
                !here.is_null()
                    && (*here).type_ == NodeTag::T_Var
                    && equal_to.contains(&(*here.cast::<pg_sys::Var>()).varattno)
            })
        };
        let columns = (*(*parent).part_scheme).partnatts as usize;
        let all =
            (0..columns).all(|i| cells::<Node>(*(*parent).partexprs.add(i)).any(&is_chosen_by));
        if all { 1.0 / f64::from((*parent).nparts.max(1)) } else { 1.0 }
    }
}

/// The search for members of equivalence classes, one after the other.
struct Members {
    seen: *mut pg_sys::List,
    current: *mut pg_sys::Expr,
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn is_member(
    _root: *mut pg_sys::PlannerInfo,
    _rel: *mut pg_sys::RelOptInfo,
    _class: *mut pg_sys::EquivalenceClass,
    member: *mut pg_sys::EquivalenceMember,
    context: *mut c_void,
) -> bool {
    // SAFETY: `context` is the Members of `add_parameterised_paths`.
    unsafe {
        let members = &mut *context.cast::<Members>();
        let expression = (*member).em_expr;
        if !members.current.is_null() {
            return pg_sys::equal(expression.cast(), members.current.cast());
        }
        if pg_sys::list_member(members.seen, expression.cast()) {
            return false;
        }
        members.current = expression;
        true
    }
}
