//! The plan of a routed statement.
#![allow(unsafe_code)]

use std::ffi::c_char;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{CmdType, Node, NodeTag, RTEKind};

use super::callbacks::SCAN_METHODS;
use super::decision::{Decision, decide};
use super::levels::Levels;
use super::private::RouterPrivate;
use super::routed::Routed;
use super::rows::node;
use super::statement_triggers::StatementTriggers;
use crate::backend::cells;
use crate::error::{Error, Refusal};

/// What became of a statement.
pub enum Planned {
    /// It names no sharded table at its top level.
    NotOurs,
    /// It does, and is to be planned otherwise. The flag: it could be taken for a
    /// point statement.
    Refused(Refusal, bool),
    /// Its plan.
    Statement(*mut pg_sys::PlannedStmt),
}

/// Plans a point statement. `parameters` are those that the planner was given.
///
/// # Safety
/// Called by the planner hook with PostgreSQL's own arguments; nothing of `query`
/// is changed.
pub unsafe fn plan(
    query: *mut pg_sys::Query,
    cursor_options: i32,
    parameters: pg_sys::ParamListInfo,
) -> Result<Planned, Error> {
    // SAFETY: per the contract.
    unsafe {
        Ok(match decide(query)? {
            Decision::NotOurs => Planned::NotOurs,
            Decision::Refused(refusal, is_point) => Planned::Refused(refusal, is_point),
            Decision::Taken(routed) => {
                let plan = statement(query, routed, !parameters.is_null())?;
                if cursor_options as u32 & pg_sys::CURSOR_OPT_SCROLL != 0 {
                    (*plan).planTree = kept((*plan).planTree);
                }
                Planned::Statement(plan)
            }
        })
    }
}

/// A plan that keeps its rows, so that a cursor may go back: a remote statement is
/// read once.
unsafe fn kept(plan: *mut pg_sys::Plan) -> *mut pg_sys::Plan {
    // SAFETY: nodes made here; guarded.
    unsafe {
        let material: *mut pg_sys::Material = node(NodeTag::T_Material);
        let top = &raw mut (*material).plan;
        for entry in cells::<pg_sys::TargetEntry>((*plan).targetlist) {
            let copy: *mut pg_sys::TargetEntry = pg_sys::copyObjectImpl(entry.cast()).cast();
            (*(*copy).expr.cast::<pg_sys::Var>()).varno = pg_sys::OUTER_VAR;
            (*top).targetlist = pg_sys::lappend((*top).targetlist, copy.cast());
        }
        (*top).startup_cost = (*plan).startup_cost;
        (*top).total_cost = (*plan).total_cost;
        (*top).plan_rows = (*plan).plan_rows;
        (*top).plan_width = (*plan).plan_width;
        (*top).lefttree = plan;
        (*plan).plan_node_id = 1;
        top
    }
}

unsafe fn statement(
    query: *mut pg_sys::Query,
    routed: Routed,
    is_for_values: bool,
) -> Result<*mut pg_sys::PlannedStmt, Error> {
    // SAFETY: the planner's query; nodes made here; guarded calls.
    unsafe {
        let is_select = (*query).commandType == CmdType::CMD_SELECT;
        let plan: *mut pg_sys::PlannedStmt = node(NodeTag::T_PlannedStmt);
        (*plan).commandType = (*query).commandType;
        (*plan).queryId = (*query).queryId;
        (*plan).hasReturning = !(*query).returningList.is_null();
        (*plan).canSetTag = (*query).canSetTag;
        (*plan).rtable = range_table(query);
        (*plan).rowMarks = row_marks(query);
        (*plan).stmt_location = (*query).stmt_location;
        (*plan).stmt_len = (*query).stmt_len;
        let mut depends_on_role = false;
        pg_sys::extract_query_dependencies(
            query.cast(),
            &raw mut (*plan).relationOids,
            &raw mut (*plan).invalItems,
            &raw mut depends_on_role,
        );
        (*plan).dependsOnRole = depends_on_role;
        let output = if is_select { (*query).targetList } else { (*query).returningList };
        (*plan).planTree = scan(query, routed, output, is_for_values)?.cast();
        Ok(plan)
    }
}

/// The parents' entries: what rights are checked on, locks are taken of, and
/// EXPLAIN names. Those of subqueries and views come after the statement's own.
unsafe fn range_table(query: *mut pg_sys::Query) -> *mut pg_sys::List {
    // SAFETY: copies of valid nodes.
    unsafe {
        let levels = Levels::of(query);
        let inner = levels
            .iter()
            .skip(1)
            .flat_map(|(_, level)| cells::<pg_sys::RangeTblEntry>((*level.query).rtable))
            .filter(|entry| (**entry).rtekind == RTEKind::RTE_RELATION);
        let copy: *mut pg_sys::List = pg_sys::copyObjectImpl((*query).rtable.cast()).cast();
        for entry in cells::<pg_sys::RangeTblEntry>(copy) {
            if (*entry).rtekind == RTEKind::RTE_JOIN {
                (*entry).joinaliasvars = null_mut();
                (*entry).joinleftcols = null_mut();
                (*entry).joinrightcols = null_mut();
            }
        }
        inner.fold(copy, |list, entry| pg_sys::lappend(list, pg_sys::copyObjectImpl(entry.cast())))
    }
}

/// FOR UPDATE and its kin: done at the leaf, and told here so that the statement
/// does not pass for read-only.
unsafe fn row_marks(query: *mut pg_sys::Query) -> *mut pg_sys::List {
    // SAFETY: nodes made here.
    unsafe {
        cells::<pg_sys::RowMarkClause>((*query).rowMarks).fold(null_mut(), |list, clause| {
            let mark: *mut pg_sys::PlanRowMark = node(NodeTag::T_PlanRowMark);
            (*mark).rti = (*clause).rti;
            (*mark).prti = (*clause).rti;
            (*mark).markType = pg_sys::RowMarkType::ROW_MARK_EXCLUSIVE;
            (*mark).allMarkTypes = 1 << pg_sys::RowMarkType::ROW_MARK_EXCLUSIVE;
            (*mark).strength = (*clause).strength;
            (*mark).waitPolicy = (*clause).waitPolicy;
            // The executor does nothing for a parent.
            (*mark).isParent = true;
            pg_sys::lappend(list, mark.cast())
        })
    }
}

unsafe fn scan(
    query: *mut pg_sys::Query,
    routed: Routed,
    output: *mut pg_sys::List,
    is_for_values: bool,
) -> Result<*mut pg_sys::CustomScan, Error> {
    // SAFETY: nodes made here and copies; guarded calls.
    unsafe {
        let scan: *mut pg_sys::CustomScan = node(NodeTag::T_CustomScan);
        let mut number = 0;
        for entry in cells::<pg_sys::TargetEntry>(output).filter(|entry| !(**entry).resjunk) {
            number += 1;
            let expression: *mut Node = pg_sys::copyObjectImpl((*entry).expr.cast()).cast();
            let expression = pg_sys::flatten_join_alias_vars(query, expression);
            let from = pg_sys::makeTargetEntry(expression.cast(), number, (*entry).resname, false);
            let variable = pg_sys::makeVar(
                pg_sys::INDEX_VAR,
                number,
                pg_sys::exprType(expression),
                pg_sys::exprTypmod(expression),
                pg_sys::exprCollation(expression),
                0,
            );
            let to = pg_sys::makeTargetEntry(variable.cast(), number, (*entry).resname, false);
            (*to).resorigtbl = (*entry).resorigtbl;
            (*to).resorigcol = (*entry).resorigcol;
            (*scan).custom_scan_tlist = pg_sys::lappend((*scan).custom_scan_tlist, from.cast());
            (*scan).scan.plan.targetlist = pg_sys::lappend((*scan).scan.plan.targetlist, to.cast());
        }
        let mut parents = Vec::new();
        let mut modes: Vec<i32> = Vec::new();
        let levels = Levels::of(query);
        for table in &routed.tables {
            let ((at, index), relid) = (table.place, table.relid);
            if at == 0 {
                (*scan).custom_relids = pg_sys::bms_add_member((*scan).custom_relids, index as i32);
            }
            let rtable = (*levels.level(at).query).rtable;
            let entry: *const pg_sys::RangeTblEntry =
                pg_sys::list_nth(rtable, index as i32 - 1).cast();
            let mode = (*entry).rellockmode;
            match parents.iter().position(|parent| *parent == relid) {
                Some(known) => modes[known] = modes[known].max(mode),
                None => {
                    parents.push(relid);
                    modes.push(mode);
                }
            }
        }
        for value in &routed.values {
            let expression = pg_sys::expression_planner(value.cast());
            (*scan).custom_exprs = pg_sys::lappend((*scan).custom_exprs, expression.cast());
        }
        let private = RouterPrivate {
            query: routed.query,
            modulus: partitions(parents[0])?,
            parents,
            modes,
            is_for_values,
            keys: routed.keys,
            checks: routed.checks,
            repetition: routed.repetition,
            triggers: StatementTriggers::of(query),
        };
        (*scan).custom_private = private.to_list();
        (*scan).methods = &raw const SCAN_METHODS.0;
        // As one index probe: the same for all such plans, so that a plan for any
        // values is preferred once it may be.
        (*scan).scan.plan.startup_cost = pg_sys::DEFAULT_CPU_OPERATOR_COST;
        (*scan).scan.plan.total_cost = 2.0 * pg_sys::DEFAULT_RANDOM_PAGE_COST;
        (*scan).scan.plan.plan_rows = 1.0;
        (*scan).scan.plan.plan_width = 32;
        Ok(scan)
    }
}

/// The number of partitions, if they are the remainders of one modulus.
///
/// # Safety
/// The parent is locked.
pub unsafe fn partitions(parent: pg_sys::Oid) -> Result<u32, Error> {
    // SAFETY: the parent is locked; guarded; the descriptor is read while it is open.
    let (parts, remainders) = unsafe {
        let relation = pg_sys::table_open(parent, pg_sys::NoLock as i32);
        let descriptor = pg_sys::RelationGetPartitionDesc(relation, true);
        let bounds = (*descriptor).boundinfo;
        let found = ((*descriptor).nparts, if bounds.is_null() { 0 } else { (*bounds).nindexes });
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        found
    };
    match u32::try_from(parts) {
        Ok(n) if n > 0 && parts == remainders => Ok(n),
        _ => Err(Refusal::not_supported("the table's partitions are not all there").into()),
    }
}

/// The leaf of `parent` for a remainder.
///
/// # Safety
/// The parent is locked and its plan is valid.
pub unsafe fn leaf_of(parent: pg_sys::Oid, remainder: u32) -> Result<pg_sys::Oid, Error> {
    // SAFETY: per the contract; the descriptor is read while the parent is open.
    let found = unsafe {
        let relation = pg_sys::table_open(parent, pg_sys::NoLock as i32);
        let descriptor = pg_sys::RelationGetPartitionDesc(relation, true);
        let bounds = (*descriptor).boundinfo;
        let is_there = !bounds.is_null() && remainder < (*bounds).nindexes as u32;
        let at = if is_there { *(*bounds).indexes.add(remainder as usize) } else { -1 };
        let leaf = usize::try_from(at).ok().map(|at| *(*descriptor).oids.add(at));
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        leaf
    };
    found.ok_or_else(|| Refusal::internal("a partition of a routed statement is missing").into())
}

/// Whether a leaf is a table of this node.
pub fn is_local(leaf: pg_sys::Oid) -> bool {
    // SAFETY: a guarded syscache look-up.
    unsafe { pg_sys::get_rel_relkind(leaf) == pg_sys::RELKIND_RELATION as c_char }
}
