//! PlanDirectModify: an UPDATE or DELETE whose every part means the same on
//! the other side goes there as one statement. The owner then locks, checks
//! again after a concurrent update, and counts, as for a local table.
//!
//! PostgreSQL does not ask if the leaf has row triggers, generated columns,
//! WITH CHECK OPTION or transition tables.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{CmdType, Node, NodeTag};

use super::columns::looked_at;
use crate::backend::{attributes, cells, ints};
use crate::compat;
use crate::deparse::{Direct, Parameters, direct_statement};
use crate::error::{Error, callback};
use crate::placement::Placement;
use crate::scan::ScanPrivate;
use crate::shippable::{NotShippable, is_shippable};
use crate::types::is_builtin;

/// A plain-old frame.
pub unsafe extern "C-unwind" fn plan_direct(
    root: *mut pg_sys::PlannerInfo,
    plan: *mut pg_sys::ModifyTable,
    index: pg_sys::Index,
    subplan: i32,
) -> bool {
    // SAFETY: called by the planner; no destructor here.
    unsafe {
        callback(|| {
            Ok(match consider(root, plan, index, subplan)? {
                Ok(()) => true,
                Err(NotShippable { reason }) => {
                    let message = format!("no direct modification: {reason}");
                    pgrx::debug2!("{message}");
                    false
                }
            })
        })
    }
}

fn no<T>(reason: &'static str) -> Result<T, NotShippable> {
    Err(NotShippable { reason })
}

/// Turns the scan below `plan` into the modification, or says why not. Changes
/// nothing in the second case.
unsafe fn consider(
    root: *mut pg_sys::PlannerInfo,
    plan: *mut pg_sys::ModifyTable,
    index: u32,
    subplan: i32,
) -> Result<Result<(), NotShippable>, Error> {
    // SAFETY: the planner's pointers; guarded calls. The relation is locked.
    unsafe {
        let operation = (*plan).operation;
        if !matches!(operation, CmdType::CMD_UPDATE | CmdType::CMD_DELETE) {
            return Ok(no("it is neither UPDATE nor DELETE"));
        }
        let scan = scan_of(plan, index, subplan);
        if scan.is_null() {
            return Ok(no("the rows come from a join or another node of the plan"));
        }
        if !(*scan).scan.plan.qual.is_null() || !(*scan).scan.plan.lefttree.is_null() {
            return Ok(no("a condition is evaluated here"));
        }
        let rte = *(*root).simple_rte_array.add(index as usize);
        let relid = (*rte).relid;
        let placement = Placement::of(relid)?;
        let relation = pg_sys::table_open(relid, pg_sys::NoLock as i32);
        let all = attributes((*relation).rd_att);
        let key = key_columns(relation);
        pg_sys::table_close(relation, pg_sys::NoLock as i32);

        let mut parameters = Parameters::of_plan(root);
        let assignments = if operation == CmdType::CMD_UPDATE {
            match assignments(root, index, placement, key, &mut parameters) {
                Ok(assignments) if assignments.is_empty() => {
                    return Ok(no("it assigns to generated columns only"));
                }
                Ok(assignments) => assignments,
                Err(reason) => return Ok(Err(reason)),
            }
        } else {
            Vec::new()
        };
        let mut conditions: *mut pg_sys::List = null_mut();
        for condition in cells::<Node>((*scan).fdw_recheck_quals) {
            let copy = parameters.number(pg_sys::copyObjectImpl(condition.cast()).cast());
            conditions = pg_sys::lappend(conditions, copy.cast());
        }
        let returning_list = cells::<pg_sys::List>((*plan).returningLists)
            .nth(subplan as usize)
            .unwrap_or(null_mut());
        let mut returning = looked_at(&[returning_list], &[index], &all, false);
        if !returning_list.is_null() && returning.is_empty() {
            // One row there for one row here, whatever is in it.
            returning.push(pg_sys::SelfItemPointerAttributeNumber);
        }
        let direct = Direct {
            operation,
            placement,
            relid,
            index,
            attributes: &all,
            assignments: &assignments,
            conditions,
            returning: &returning,
            rte,
        };
        let Some(sql) = direct_statement(&direct) else {
            return Ok(no("columns are called otherwise over there"));
        };
        let private = ScanPrivate {
            sql,
            columns: returning,
            fetch_size: 0,
            needs_heap_tuples: mentions_system_columns(returning_list, index),
            relations: vec![relid],
            user: compat::check_as_user(rte),
        };
        let flag = pg_sys::makeInteger(i32::from((*plan).canSetTag));
        (*scan).operation = operation;
        (*scan).resultRelation = index;
        (*scan).fdw_exprs = parameters.into_list();
        (*scan).fdw_private = pg_sys::lappend(private.to_list(), flag.cast());
        (*scan).scan.plan.async_capable = false;
        Ok(Ok(()))
    }
}

/// The scan of the target that feeds the ModifyTable without anything between
/// that could drop, join or change rows; null if there is none.
unsafe fn scan_of(
    plan: *mut pg_sys::ModifyTable,
    index: u32,
    subplan: i32,
) -> *mut pg_sys::ForeignScan {
    // SAFETY: casts follow the tags.
    unsafe {
        let mut node = (*plan).plan.lefttree;
        // A Result above an Append computes the new values, or decides whether
        // the whole is run.
        if (*node).type_ == NodeTag::T_Result
            && !(*node).lefttree.is_null()
            && (*(*node).lefttree).type_ == NodeTag::T_Append
        {
            node = (*node).lefttree;
        }
        if (*node).type_ == NodeTag::T_Append {
            let append: *mut pg_sys::Append = node.cast();
            match cells::<pg_sys::Plan>((*append).appendplans).nth(subplan as usize) {
                Some(child) => node = child,
                None => return null_mut(),
            }
        }
        let scan: *mut pg_sys::ForeignScan = node.cast();
        let fits = (*node).type_ == NodeTag::T_ForeignScan
            && (*scan).scan.scanrelid == index
            && (*scan).operation == CmdType::CMD_SELECT;
        if fits { scan } else { null_mut() }
    }
}

/// The columns that decide which partition a row belongs to, offset as in all
/// such sets. An update of one of them may move the row and goes row by row.
unsafe fn key_columns(relation: pg_sys::Relation) -> *mut pg_sys::Bitmapset {
    let mut columns: *mut pg_sys::Bitmapset = null_mut();
    // SAFETY: guarded; the constraint's Vars have the number 1.
    unsafe {
        let constraint = compat::partition_constraint(relation);
        pg_sys::pull_varattnos(constraint.cast(), 1, &raw mut columns);
    }
    columns
}

unsafe fn assignments(
    root: *mut pg_sys::PlannerInfo,
    index: u32,
    placement: Placement,
    key: *mut pg_sys::Bitmapset,
    parameters: &mut Parameters,
) -> Result<Vec<(i16, *mut Node)>, NotShippable> {
    let there = placement;
    // SAFETY: guarded; the lists are fresh copies: entries, attribute numbers.
    unsafe {
        let (mut entries, mut numbers) = (null_mut(), null_mut());
        pg_sys::get_translated_update_targetlist(root, index, &raw mut entries, &raw mut numbers);
        let mut assignments = Vec::new();
        for (entry, number) in cells::<pg_sys::TargetEntry>(entries).zip(ints(numbers)) {
            let offset = pg_sys::FirstLowInvalidHeapAttributeNumber;
            // Bit 7 stands for the whole row.
            if pg_sys::bms_is_member(number - offset, key) || pg_sys::bms_is_member(-offset, key) {
                return no("it assigns to a column of the partition key");
            }
            let expression: *mut Node = (*entry).expr.cast();
            let value = match is_shippable(expression, index, there) {
                Ok(()) => parameters.number_operand(expression),
                // The same for all rows: computed here once.
                Err(_) if is_constant_here(expression) => parameters.value(expression),
                Err(reason) => return Err(reason),
            };
            assignments.push((number as i16, value));
        }
        Ok(assignments)
    }
}

unsafe fn is_constant_here(expression: *mut Node) -> bool {
    // SAFETY: guarded walks over a valid expression.
    unsafe {
        !pg_sys::contain_var_clause(expression)
            && !pg_sys::contain_volatile_functions(expression)
            && !pg_sys::contain_subplans(expression)
            && !has_more_to_run(expression, null_mut())
    }
}

/// Whether a parameter in it is set by a sub-select that runs once a row, or a
/// user's function is called, which should not run if no row qualifies.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn has_more_to_run(node: *mut Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: the cast follows the tag; the walker passes valid nodes.
    unsafe {
        let stops = match (*node).type_ {
            NodeTag::T_Param => {
                let kind = (*node.cast::<pg_sys::Param>()).paramkind;
                kind == pg_sys::ParamKind::PARAM_MULTIEXPR
            }
            NodeTag::T_FuncExpr => !is_builtin((*node.cast::<pg_sys::FuncExpr>()).funcid),
            NodeTag::T_OpExpr => !is_builtin((*node.cast::<pg_sys::OpExpr>()).opno),
            NodeTag::T_CoerceToDomain => true,
            _ => false,
        };
        if stops {
            return true;
        }
        pg_sys::expression_tree_walker(node, Some(has_more_to_run), context)
    }
}

/// xmin, cmin, xmax, cmax: -2 to -5.
unsafe fn mentions_system_columns(list: *mut pg_sys::List, index: u32) -> bool {
    let mut used: *mut pg_sys::Bitmapset = null_mut();
    // SAFETY: guarded; the members are attribute numbers plus 7.
    unsafe {
        pg_sys::pull_varattnos(list.cast(), index, &raw mut used);
        (-5..=-2)
            .any(|n| pg_sys::bms_is_member(n - pg_sys::FirstLowInvalidHeapAttributeNumber, used))
    }
}
