//! GetForeignUpperPaths, and the plans of the paths made there.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::null_mut;

use pgrx::{PgMemoryContexts, pg_sys};

use super::ScanPrivate;
use super::grouping::{Grouping, distinct, grouping};
use super::limit::{Bound, usable_groups};
use super::order::sort_keys_of_groups;
use super::relation::RelationPlan;
use super::rescans::{plan_writes, waits_for_values};
use super::source::Source;
use crate::backend::cells;
use crate::deparse::{Parameters, RemoteQuery, SortKey, query_statement};
use crate::error::{Error, callback};
use crate::shippable::{NotShippable, is_comparable};

/// What planning has found out about grouped rows; the upper relation's
/// `fdw_private`.
struct UpperPlan {
    source: Source,
    grouping: Grouping,
}

/// A plain-old frame.
pub unsafe extern "C-unwind" fn get_upper_paths(
    root: *mut pg_sys::PlannerInfo,
    stage: pg_sys::UpperRelationKind::Type,
    input: *mut pg_sys::RelOptInfo,
    output: *mut pg_sys::RelOptInfo,
    extra: *mut c_void,
) {
    use pg_sys::UpperRelationKind::{
        UPPERREL_DISTINCT, UPPERREL_GROUP_AGG, UPPERREL_PARTIAL_GROUP_AGG,
    };
    // SAFETY: called by the planner; `extra` is what the stage says it is. No
    // destructor here.
    unsafe {
        callback(|| {
            let is_new = (*output).fdw_private.is_null();
            if is_new && matches!(stage, UPPERREL_GROUP_AGG | UPPERREL_PARTIAL_GROUP_AGG) {
                let is_whole = stage == UPPERREL_GROUP_AGG;
                let extra = &*extra.cast::<pg_sys::GroupPathExtraData>();
                let having = if is_whole { extra.havingQual.cast() } else { null_mut() };
                add_grouping_path(root, input, output, having, is_whole);
            }
            if is_new && stage == UPPERREL_DISTINCT {
                add_distinct_path(root, input, output);
            }
            Ok(())
        })
    }
}

unsafe fn add_grouping_path(
    root: *mut pg_sys::PlannerInfo,
    input: *mut pg_sys::RelOptInfo,
    output: *mut pg_sys::RelOptInfo,
    having: *mut pg_sys::List,
    is_whole: bool,
) {
    // SAFETY: the planner's pointers; guarded.
    unsafe {
        let query = &*(*root).parse;
        if query.groupClause.is_null() && !query.hasAggs && !(*root).hasHavingQual {
            return;
        }
        let waits = waits_for_values((*(*output).reltarget).exprs.cast())
            || waits_for_values(having.cast());
        if waits && plan_writes(root) {
            return discourage(input, output);
        }
        let whole = Source::of(input).and_then(|source| {
            grouping(root, &source, (*output).reltarget, having, is_whole).map(|g| (source, g))
        });
        match whole {
            Ok((source, grouping)) => {
                add_path(root, output, (*output).reltarget, source, grouping);
            }
            Err(NotShippable { reason }) => {
                Source::note(input, |above| {
                    above.grouping.get_or_insert(reason);
                });
                discourage(input, output);
            }
        }
    }
}

/// SELECT DISTINCT of rows that are neither grouped nor otherwise worked on here:
/// the same as grouping by all of them.
unsafe fn add_distinct_path(
    root: *mut pg_sys::PlannerInfo,
    input: *mut pg_sys::RelOptInfo,
    output: *mut pg_sys::RelOptInfo,
) {
    // SAFETY: the planner's pointers; guarded.
    unsafe {
        let query = &*(*root).parse;
        let rows_are_those_of_from = query.groupClause.is_null()
            && query.groupingSets.is_null()
            && !query.hasAggs
            && !query.hasWindowFuncs
            && !query.hasTargetSRFs
            && !query.hasDistinctOn
            && !(*root).hasHavingQual;
        let target = (*root).upper_targets[pg_sys::UpperRelationKind::UPPERREL_DISTINCT as usize];
        if !rows_are_those_of_from || target.is_null() {
            return;
        }
        if plan_writes(root) && waits_for_values((*target).exprs.cast()) {
            return;
        }
        let Ok(source) = Source::of(input) else { return };
        let Ok(distinct) = distinct(root, &source, target) else { return };
        add_path(root, output, target, source, distinct);
    }
}

unsafe fn add_path(
    root: *mut pg_sys::PlannerInfo,
    output: *mut pg_sys::RelOptInfo,
    target: *mut pg_sys::PathTarget,
    source: Source,
    grouping: Grouping,
) {
    // SAFETY: the planner's pointers; guarded.
    unsafe {
        let mut keys = null_mut();
        let mut calls = 0.0;
        for entry in cells::<pg_sys::TargetEntry>(grouping.target_list) {
            if (*entry).ressortgroupref == 0 {
                calls += 1.0;
            } else {
                keys = pg_sys::lappend(keys, (*entry).expr.cast());
            }
        }
        let groups = if keys.is_null() {
            1.0
        } else {
            pg_sys::estimate_num_groups(root, keys, source.rows, null_mut(), null_mut())
        };
        let selectivity = |conditions| {
            pg_sys::clauselist_selectivity(
                root,
                conditions,
                0,
                pg_sys::JoinType::JOIN_INNER,
                null_mut(),
            )
        };
        let returned = pg_sys::clamp_row_est(groups * selectivity(grouping.having));
        let rows = pg_sys::clamp_row_est(returned * selectivity(grouping.local_having));
        // One operator for each aggregate and key of each row over there, as the
        // executor's own hash aggregate is costed; then the groups travel.
        let n_keys = if keys.is_null() { 0.0 } else { f64::from((*keys).length) };
        let work = source.rows * pg_sys::cpu_operator_cost * (calls + n_keys);
        let startup = source.startup + source.work + work;
        let total = startup + returned * source.row_cost;

        let plan = UpperPlan { source, grouping };
        let mut context = PgMemoryContexts::For((*root).planner_cxt);
        (*output).fdw_private = context.leak_and_drop_on_delete(plan).cast();
        let path = pg_sys::create_foreign_upper_path(
            root,
            output,
            target,
            rows,
            startup,
            total,
            null_mut(),
            null_mut(),
            null_mut(),
        );
        pg_sys::add_path(output, path.cast());
    }
}

/// Makes the paths that group a leaf's rows here, leaf by leaf, look dear.
///
/// Append runs foreign scans at the same time only if they are its children.
/// With an Agg node in between, one node would be read after the other.
unsafe fn discourage(input: *mut pg_sys::RelOptInfo, output: *mut pg_sys::RelOptInfo) {
    // SAFETY: the planner's pointers; base relations carry a RelationPlan.
    unsafe {
        let is_leaf = (*input).reloptkind == pg_sys::RelOptKind::RELOPT_OTHER_MEMBER_REL;
        if is_leaf && (*(*input).fdw_private.cast::<RelationPlan>()).is_async {
            for path in cells::<pg_sys::Path>((*output).pathlist) {
                (*path).startup_cost *= 2.0;
                (*path).total_cost *= 2.0;
            }
        }
    }
}

/// Whether what was made here may run at the same time as others.
///
/// # Safety
/// `rel` got its path from [`get_upper_paths`].
pub unsafe fn upper_is_async(rel: *const pg_sys::RelOptInfo) -> bool {
    // SAFETY: per the contract.
    unsafe { (*(*rel).fdw_private.cast::<UpperPlan>()).source.is_async }
}

/// The plan of a path made here.
///
/// # Safety
/// The planner's pointers; `rel` got its path from [`get_upper_paths`].
pub unsafe fn plan_upper(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    target_list: *mut pg_sys::List,
) -> Result<*mut pg_sys::ForeignScan, Error> {
    // SAFETY: per the contract; guarded.
    unsafe {
        let upper = &*(*rel).fdw_private.cast::<UpperPlan>();
        let source = &upper.source;
        let mut parameters = Parameters::new();
        let top = first_groups(root, rel, &upper.grouping);
        let limit = top.as_ref().map(|(_, rows)| *rows);
        let sql = query_statement(
            &RemoteQuery {
                placement: source.placement,
                entries: source.entries(root),
                from: &source.from,
                target_list: upper.grouping.target_list,
                is_grouped: true,
                conditions: &source.conditions,
                having: upper.grouping.having,
                locks: Vec::new(),
                order: top.map(|(order, _)| order).unwrap_or_default(),
                limit,
            },
            &mut parameters,
        )?;
        let columns = cells::<pg_sys::TargetEntry>(upper.grouping.target_list)
            .map(|entry| i32::from((*entry).resno))
            .collect();
        let (relations, user) = source.relations(root);
        let private = ScanPrivate {
            sql,
            columns,
            fetch_size: source.fetch_size,
            needs_heap_tuples: false,
            relations,
            user,
        };
        Ok(pg_sys::make_foreignscan(
            target_list,
            upper.grouping.local_having,
            0,
            parameters.into_list(),
            private.to_list(),
            upper.grouping.target_list,
            null_mut(),
            null_mut(),
        ))
    }
}

/// The order and number of the groups that are enough: groups that are complete,
/// all of whose conditions are sent, and that the query wants the first of.
unsafe fn first_groups(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    grouping: &Grouping,
) -> Option<(Vec<SortKey>, Bound)> {
    // SAFETY: the planner's pointers; the relation is one of groups.
    unsafe {
        if !grouping.is_whole || !grouping.local_having.is_null() {
            return None;
        }
        let usable = usable_groups(root)?;
        if !usable.is_ordered {
            return Some((Vec::new(), usable.rows));
        }
        let source = &(*(*rel).fdw_private.cast::<UpperPlan>()).source;
        let relids = source.from.relids();
        let order = sort_keys_of_groups(root, (*rel).reltarget, |expression| {
            is_comparable(expression, relids, source.placement, true).is_ok()
                && grouping.computes(expression)
        })?;
        Some((order, usable.rows))
    }
}
