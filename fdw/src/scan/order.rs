//! Which orders of a relation's rows the other side can make: ORDER BY.
#![allow(unsafe_code)]

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag};

use crate::backend::cells;
use crate::deparse::SortKey;
use crate::types::is_builtin;

/// The order `pathkeys` of a relation's rows as it is sent, or `None` if it can
/// only be made here. `ships` says whether the other side may sort by an
/// expression.
///
/// # Safety
/// The planner's pointers; `pathkeys` is a list of PathKeys.
pub unsafe fn sort_keys(
    root: *const pg_sys::PlannerInfo,
    rel: *const pg_sys::RelOptInfo,
    pathkeys: *mut pg_sys::List,
    ships: impl Fn(*mut Node) -> bool,
) -> Option<Vec<SortKey>> {
    // SAFETY: per the contract; guarded look-ups.
    unsafe {
        let mut keys = Vec::new();
        for pathkey in cells::<pg_sys::PathKey>(pathkeys) {
            let class = (*pathkey).pk_eclass;
            if (*class).ec_has_volatile {
                return None;
            }
            let found = cells::<pg_sys::EquivalenceMember>((*class).ec_members).find_map(|m| {
                let is_of_rel = pg_sys::bms_is_subset((*m).em_relids, (*rel).relids)
                    && !(*m).em_relids.is_null();
                let expression: *mut Node = (*m).em_expr.cast();
                if !is_of_rel || waits_in_vain(root, expression) || !ships(expression) {
                    return None;
                }
                let operator = |strategy: i32| {
                    pg_sys::get_opfamily_member(
                        (*pathkey).pk_opfamily,
                        (*m).em_datatype,
                        (*m).em_datatype,
                        strategy as i16,
                    )
                };
                let sort_operator = operator((*pathkey).pk_strategy);
                let equality = operator(pg_sys::BTEqualStrategyNumber as i32);
                let is_known = is_builtin(sort_operator) && is_builtin(equality);
                is_known.then_some(SortKey {
                    expression,
                    operator: sort_operator,
                    equality,
                    nulls_first: (*pathkey).pk_nulls_first,
                })
            });
            keys.push(found?);
        }
        Some(keys)
    }
}

/// The ORDER BY of the query over grouped rows, whose expressions are looked up
/// in `target`. As [`sort_keys`].
///
/// # Safety
/// The planner's pointers; `target` is that of a grouped relation of `root`.
pub unsafe fn sort_keys_of_groups(
    root: *const pg_sys::PlannerInfo,
    target: *const pg_sys::PathTarget,
    ships: impl Fn(*mut Node) -> bool,
) -> Option<Vec<SortKey>> {
    // SAFETY: per the contract; the array of references is as long as the list.
    unsafe {
        if (*target).sortgrouprefs.is_null() {
            return None;
        }
        let mut keys = Vec::new();
        for clause in cells::<pg_sys::SortGroupClause>((*(*root).parse).sortClause) {
            let (_, expression) = cells::<Node>((*target).exprs)
                .enumerate()
                .find(|(i, _)| *(*target).sortgrouprefs.add(*i) == (*clause).tleSortGroupRef)?;
            let is_known = is_builtin((*clause).sortop) && is_builtin((*clause).eqop);
            let is_constant = matches!((*expression).type_, NodeTag::T_Const | NodeTag::T_Param);
            if !is_known || is_constant || waits_in_vain(root, expression) || !ships(expression) {
                return None;
            }
            keys.push(SortKey {
                expression,
                operator: (*clause).sortop,
                equality: (*clause).eqop,
                nulls_first: (*clause).nulls_first,
            });
        }
        Some(keys)
    }
}

/// A statement that writes may not read what depends on values that come up
/// while it runs.
unsafe fn waits_in_vain(root: *const pg_sys::PlannerInfo, expression: *mut Node) -> bool {
    // SAFETY: the callers'.
    unsafe { super::rescans::plan_writes(root) && super::rescans::waits_for_values(expression) }
}

/// Whether an expression is a bare column, which cannot fail whatever the row.
///
/// # Safety
/// `expression` is valid.
pub unsafe fn is_column(mut expression: *mut Node) -> bool {
    // SAFETY: per the contract; casts follow the tag.
    unsafe {
        while !expression.is_null() && (*expression).type_ == NodeTag::T_RelabelType {
            expression = (*expression.cast::<pg_sys::RelabelType>()).arg.cast();
        }
        !expression.is_null() && (*expression).type_ == NodeTag::T_Var
    }
}
