//! GetForeignJoinPaths: inner joins of leaves on one node.
//!
//! Core offers every join of two relations of the server `shardman` that are
//! read with the same rights; whether they are on one node is for us to see.
//! Only inner joins are taken: their conditions may stand in one WHERE, whatever
//! the order of joining. A join whose rows may have to be checked again under
//! READ COMMITTED (UPDATE, DELETE, FOR UPDATE) stays here.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys::NodeTag;
use pgrx::{PgMemoryContexts, pg_sys};

use super::ScanPrivate;
use super::path::{add_sorted_join_path, join_order};
use super::plan::path_limit;
use super::rescans::{plan_writes, waits_for_values};
use super::source::Source;
use crate::backend::cells;
use crate::deparse::{Parameters, RemoteQuery, limit_clause, query_statement};
use crate::error::{Error, Refusal, callback};
use crate::shippable::{NotShippable, is_shippable_grouped};

fn no<T>(reason: &'static str) -> Result<T, NotShippable> {
    Err(NotShippable { reason })
}

/// A plain-old frame.
pub unsafe extern "C-unwind" fn get_join_paths(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    outer: *mut pg_sys::RelOptInfo,
    inner: *mut pg_sys::RelOptInfo,
    join: pg_sys::JoinType::Type,
    extra: *mut pg_sys::JoinPathExtraData,
) {
    // SAFETY: called by the planner with valid pointers; no destructor here.
    unsafe {
        callback(|| {
            // Asked once for each way to split the relation: one answer will do.
            if (*rel).fdw_private.is_null()
                && let Ok(source) = joined(root, rel, outer, inner, join, (*extra).restrictlist)
            {
                add_path(root, rel, source);
            }
            Ok(())
        })
    }
}

unsafe fn joined(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    outer: *mut pg_sys::RelOptInfo,
    inner: *mut pg_sys::RelOptInfo,
    join: pg_sys::JoinType::Type,
    clauses: *mut pg_sys::List,
) -> Result<Source, NotShippable> {
    // SAFETY: the planner's pointers; guarded.
    unsafe {
        if join != pg_sys::JoinType::JOIN_INNER {
            return no("it is not an inner join");
        }
        if (*(*root).parse).commandType != pg_sys::CmdType::CMD_SELECT
            || !(*root).rowMarks.is_null()
        {
            return no("its rows may have to be checked again");
        }
        if (*root).qual_security_level > 0 {
            return no("a security condition must come first");
        }
        if !(*rel).lateral_relids.is_null() {
            return no("it depends on another relation of the query");
        }
        let (outer, inner) = (Source::of(outer)?, Source::of(inner)?);
        if outer.placement != inner.placement {
            return no("the partitions are on different nodes");
        }
        let mut conditions = pg_sys::list_concat_copy(outer.conditions, inner.conditions);
        for clause in cells::<pg_sys::RestrictInfo>(clauses) {
            if (*clause).pseudoconstant {
                return no("a condition does not depend on the rows");
            }
            if plan_writes(root) && waits_for_values((*clause).clause.cast()) {
                return no("the statement writes, and the condition waits for a value");
            }
            is_shippable_grouped((*clause).clause.cast(), (*rel).relids, true)?;
            conditions = pg_sys::lappend(conditions, (*clause).clause.cast());
        }
        for expression in cells::<pg_sys::Node>((*(*rel).reltarget).exprs) {
            let is_column = (*expression).type_ == NodeTag::T_Var
                && (*expression.cast::<pg_sys::Var>()).varattno > 0;
            if !is_column {
                return no("it returns something that is no column");
            }
        }
        let mut indexes = [outer.indexes.as_slice(), inner.indexes.as_slice()].concat();
        indexes.sort_unstable();
        // As a hash join over there, without the details.
        let pairs = pg_sys::cpu_operator_cost * (outer.rows + 2.0 * inner.rows)
            + pg_sys::cpu_tuple_cost * (*rel).rows;
        Ok(Source {
            indexes,
            conditions,
            rows: (*rel).rows,
            work: outer.work + inner.work + pairs,
            ..outer
        })
    }
}

unsafe fn add_path(root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo, source: Source) {
    // SAFETY: the planner's pointers; guarded.
    unsafe {
        let startup = source.startup;
        let row_cost = source.row_cost;
        let total = startup + source.work + source.rows * row_cost;
        let mut context = PgMemoryContexts::For((*root).planner_cxt);
        (*rel).fdw_private = context.leak_and_drop_on_delete(source).cast();
        let add = |rows: f64, startup: f64, total: f64, pathkeys: *mut pg_sys::List| {
            let path = pg_sys::create_foreign_join_path(
                root,
                rel,
                null_mut(),
                rows,
                startup,
                total,
                pathkeys,
                null_mut(),
                null_mut(),
                null_mut(),
            );
            pg_sys::add_path(rel, path.cast());
        };
        add((*rel).rows, startup, total, null_mut());
        add_sorted_join_path(root, rel, total, row_cost, add);
    }
}

/// The plan of a path made here.
///
/// # Safety
/// The planner's pointers; `rel` got its path from [`get_join_paths`].
pub unsafe fn plan_join(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    best_path: *const pg_sys::ForeignPath,
    target_list: *mut pg_sys::List,
) -> Result<*mut pg_sys::ForeignScan, Error> {
    // SAFETY: per the contract; guarded.
    unsafe {
        let source = Source::of(rel).map_err(|e| Refusal::internal(e.reason))?;
        // Columns only. By now the target may hold any expression of the query:
        // those are evaluated here, also because a parameter that is a column of
        // the scan would be taken for that column where its value is computed.
        let columns = pg_sys::pull_var_clause(
            (*(*rel).reltarget).exprs.cast(),
            pg_sys::PVC_RECURSE_PLACEHOLDERS as i32,
        );
        let scan_list = pg_sys::add_to_flat_tlist(null_mut(), columns);
        let pathkeys = (*best_path).path.pathkeys;
        let order = join_order(root, rel, pathkeys)
            .ok_or_else(|| Refusal::internal("a foreign join cannot have its path's order"))?;
        let mut parameters = Parameters::new();
        let mut sql = query_statement(
            &RemoteQuery {
                entries: source.entries(root),
                target_list: scan_list,
                group_clause: null_mut(),
                conditions: source.conditions,
                having: null_mut(),
                order,
            },
            &mut parameters,
        )?;
        if let Some(rows) = path_limit(root, rel, pathkeys) {
            sql.extend(limit_clause(rows));
        }
        let (relations, user) = source.relations(root);
        let private = ScanPrivate {
            sql,
            columns: cells::<pg_sys::TargetEntry>(scan_list)
                .map(|e| i32::from((*e).resno))
                .collect(),
            fetch_size: source.fetch_size,
            needs_heap_tuples: false,
            relations,
            user,
        };
        Ok(pg_sys::make_foreignscan(
            target_list,
            null_mut(),
            0,
            parameters.into_list(),
            private.to_list(),
            scan_list,
            null_mut(),
            null_mut(),
        ))
    }
}
