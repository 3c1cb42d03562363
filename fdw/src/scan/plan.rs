//! GetForeignPlan: the remote SQL and what stays local.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;

use super::ScanPrivate;
use super::join::plan_join;
use super::limit::{Bound, usable_rows};
use super::notes::Notes;
use super::parameterised::ships_with_parameters;
use super::path::relation_order;
use super::relation::RelationPlan;
use super::rescans::{plan_writes, waits_for_values};
use super::upper::plan_upper;
use crate::backend::{Attribute, attributes, cells};
use crate::compat;
use crate::deparse::{Parameters, RowLock, Select, limit_clause, select_statement};
use crate::error::{Error, Refusal, callback};
use crate::shippable::{NotShippable, is_shippable};

/// A plain-old frame.
pub unsafe extern "C-unwind" fn get_plan(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    relid: pg_sys::Oid,
    best_path: *mut pg_sys::ForeignPath,
    target_list: *mut pg_sys::List,
    clauses: *mut pg_sys::List,
    outer_plan: *mut pg_sys::Plan,
) -> *mut pg_sys::ForeignScan {
    // SAFETY: called by the planner after get_paths; no destructor here.
    unsafe {
        callback(|| {
            use pg_sys::RelOptKind::{RELOPT_JOINREL, RELOPT_OTHER_JOINREL};
            if matches!((*rel).reloptkind, RELOPT_JOINREL | RELOPT_OTHER_JOINREL) {
                return plan_join(root, rel, best_path, target_list, outer_plan);
            }
            if (*rel).relid == 0 {
                return plan_upper(root, rel, target_list);
            }
            plan(root, rel, relid, best_path, target_list, clauses, outer_plan)
        })
    }
}

unsafe fn plan(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    relid: pg_sys::Oid,
    best_path: *const pg_sys::ForeignPath,
    target_list: *mut pg_sys::List,
    clauses: *mut pg_sys::List,
    outer_plan: *mut pg_sys::Plan,
) -> Result<*mut pg_sys::ForeignScan, Error> {
    // SAFETY: the planner's pointers; guarded calls.
    unsafe {
        let info = &*(*rel).fdw_private.cast::<RelationPlan>();
        let is_parameterised = !(*best_path).path.param_info.is_null();
        let (mut remote, mut local) = (null_mut(), null_mut());
        let mut notes = Notes::default();
        for clause in cells::<pg_sys::RestrictInfo>(clauses) {
            if (*clause).pseudoconstant {
                continue;
            }
            let expression = (*clause).clause;
            let ships = pg_sys::list_member_ptr(info.remote, clause.cast())
                || (is_parameterised && ships_with_parameters(root, rel, clause));
            if !ships {
                notes.add("condition", reason_to_stay(root, rel, info, expression.cast()));
            }
            let list = if ships { &mut remote } else { &mut local };
            *list = pg_sys::lappend(*list, expression.cast());
        }
        let relation = pg_sys::table_open(relid, pg_sys::NoLock as i32);
        let attributes = attributes((*relation).rd_att);
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        let wanted = wanted_columns(rel, local, &attributes);
        let rte = rte_of(root, (*rel).relid);
        let pathkeys = (*best_path).path.pathkeys;
        let order = match pathkeys.is_null() {
            true => Vec::new(),
            false => relation_order(root, rel, pathkeys)
                .ok_or_else(|| Refusal::internal("a foreign scan cannot have its path's order"))?,
        };
        let mut parameters = match is_parameterised {
            true => Parameters::of_plan(root).of_all_but((*rel).relid),
            false => Parameters::of_plan(root),
        };
        let mut sql = select_statement(
            &Select {
                placement: info.placement,
                relid,
                index: (*rel).relid,
                attributes: &attributes,
                columns: &wanted.columns,
                conditions: remote,
                order: &order,
                lock: row_lock(root, rel),
                rte,
            },
            &mut parameters,
        );
        if local.is_null()
            && let Some(rows) = path_limit(root, rel, pathkeys)
        {
            sql.extend(limit_clause(rows, &mut parameters));
        }
        notes.add_reasons(&info.above);
        let private = ScanPrivate {
            sql,
            columns: wanted.columns,
            fetch_size: info.options.get_number("fetch_size").unwrap_or(0),
            needs_heap_tuples: wanted.needs_heap_tuples,
            relations: vec![relid],
            user: compat::check_as_user(rte),
        };
        Ok(pg_sys::make_foreignscan(
            target_list,
            local,
            (*rel).relid,
            parameters.into_list(),
            notes.append_to(private.to_list()),
            null_mut(),
            remote,
            outer_plan,
        ))
    }
}

/// The LIMIT for rows that come in the order `pathkeys`.
///
/// # Safety
/// As [`usable_rows`].
pub unsafe fn path_limit(
    root: *const pg_sys::PlannerInfo,
    rel: *const pg_sys::RelOptInfo,
    pathkeys: *mut pg_sys::List,
) -> Option<Bound> {
    // SAFETY: per the contract; guarded.
    unsafe {
        let usable = usable_rows(root, rel)?;
        let has_order = || {
            pg_sys::pathkeys_contained_in((*root).sort_pathkeys, pathkeys) && !pathkeys.is_null()
        };
        (!usable.is_ordered || has_order()).then_some(usable.rows)
    }
}

/// Why a condition is not sent.
unsafe fn reason_to_stay(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    info: &RelationPlan,
    condition: *mut pg_sys::Node,
) -> &'static str {
    let there = info.placement;
    // SAFETY: the planner's pointers; guarded.
    unsafe {
        match is_shippable(condition, (*rel).relid, there) {
            Err(NotShippable { reason }) => reason,
            Ok(()) if plan_writes(root) && waits_for_values(condition) => {
                "the statement writes, and the condition waits for a value"
            }
            Ok(()) => "a security condition must come first",
        }
    }
}

unsafe fn rte_of(root: *mut pg_sys::PlannerInfo, index: u32) -> *const pg_sys::RangeTblEntry {
    // SAFETY: the array has an entry for every base relation.
    unsafe { *(*root).simple_rte_array.add(index as usize) }
}

struct Wanted {
    columns: Vec<i32>,
    needs_heap_tuples: bool,
}

/// The columns that the query above and the local conditions look at.
unsafe fn wanted_columns(
    rel: *mut pg_sys::RelOptInfo,
    local: *mut pg_sys::List,
    attributes: &[Attribute],
) -> Wanted {
    let mut used: *mut pg_sys::Bitmapset = null_mut();
    // SAFETY: guarded; the members are attribute numbers plus 7.
    let is_used = unsafe {
        pg_sys::pull_varattnos((*(*rel).reltarget).exprs.cast(), (*rel).relid, &raw mut used);
        pg_sys::pull_varattnos(local.cast(), (*rel).relid, &raw mut used);
        |number: i32| {
            pg_sys::bms_is_member(number - pg_sys::FirstLowInvalidHeapAttributeNumber, used)
        }
    };
    let whole_row = is_used(0);
    let mut columns: Vec<i32> = attributes
        .iter()
        .map(|a| i32::from(a.number))
        .filter(|n| whole_row || is_used(*n))
        .collect();
    if is_used(pg_sys::SelfItemPointerAttributeNumber) {
        columns.push(pg_sys::SelfItemPointerAttributeNumber);
    }
    // xmin, cmin, xmax, cmax: -2 to -5.
    let needs_heap_tuples = (-5..=-2).any(is_used);
    Wanted { columns, needs_heap_tuples }
}

/// Rows to be updated or deleted here are locked there while they are read, so
/// that READ COMMITTED checks them again; SELECT … FOR passes on what it says.
pub unsafe fn row_lock(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
) -> Option<RowLock> {
    use pg_sys::{CmdType, LockClauseStrength, LockWaitPolicy};
    // SAFETY: the planner's pointers; guarded calls.
    unsafe {
        let command = (*(*root).parse).commandType;
        let is_target = pg_sys::bms_is_member((*rel).relid as i32, (*root).all_result_relids);
        if matches!(command, CmdType::CMD_UPDATE | CmdType::CMD_DELETE) && is_target {
            return Some(RowLock {
                strength: LockClauseStrength::LCS_FORUPDATE,
                wait: LockWaitPolicy::LockWaitBlock,
            });
        }
        cells::<pg_sys::PlanRowMark>((*root).rowMarks)
            .find(|mark| (**mark).rti == (*rel).relid)
            .filter(|mark| (**mark).strength != LockClauseStrength::LCS_NONE)
            .map(|mark| RowLock { strength: (*mark).strength, wait: (*mark).waitPolicy })
    }
}
