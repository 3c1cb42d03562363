//! Columns of a leaf by their numbers there.
//!
//! A leaf that was made after a column of its parent had been dropped numbers the
//! columns after it differently.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{AttrMap, CmdType, List, Node, NodeTag, Query, RangeTblEntry, TargetEntry};

use crate::backend::cells;

/// Where each column of `parent` stands in `leaf`; `None` if where it stood.
///
/// # Safety
/// Both are locked; called within a query.
pub unsafe fn renumbering(parent: pg_sys::Oid, leaf: pg_sys::Oid) -> Option<*mut AttrMap> {
    // SAFETY: guarded; the descriptors are read while the relations are open, and
    // the map is a copy.
    unsafe {
        let parent = pg_sys::table_open(parent, pg_sys::NoLock as i32);
        let leaf = pg_sys::table_open(leaf, pg_sys::AccessShareLock as i32);
        let map = pg_sys::build_attrmap_by_name_if_req((*leaf).rd_att, (*parent).rd_att);
        pg_sys::table_close(leaf, pg_sys::NoLock as i32);
        pg_sys::table_close(parent, pg_sys::NoLock as i32);
        (!map.is_null()).then_some(map)
    }
}

/// Renumbers the columns of one range table entry of a query, everywhere in it.
/// Nothing takes its row as a whole.
///
/// # Safety
/// `query` is a copy; its entry `index` already names `leaf`.
pub unsafe fn renumber(query: *mut Query, index: i32, leaf: pg_sys::Oid, map: *const AttrMap) {
    // SAFETY: per the contract; guarded. The mapped query replaces the old one's parts.
    unsafe {
        let mut whole_row = false;
        let no_type = pg_sys::InvalidOid;
        let mapped =
            pg_sys::map_variable_attnos(query.cast(), index, 0, map, no_type, &mut whole_row);
        *query = std::ptr::read(mapped.cast::<Query>());
        let entry: *mut RangeTblEntry = pg_sys::list_nth((*query).rtable, index - 1).cast();
        if let Some(alias) = (*entry).alias.as_mut() {
            // In the parent's order; the leaf's own names will do.
            alias.colnames = null_mut();
        }
        for columns in [
            &raw mut (*entry).selectedCols,
            &raw mut (*entry).insertedCols,
            &raw mut (*entry).updatedCols,
        ] {
            *columns = numbers(*columns, map);
        }
        let is_target = (*query).resultRelation == index;
        if is_target && matches!((*query).commandType, CmdType::CMD_INSERT | CmdType::CMD_UPDATE) {
            (*query).targetList = targets((*query).targetList, map);
        }
        for action in cells::<pg_sys::MergeAction>((*query).mergeActionList) {
            if is_target {
                (*action).targetList = targets((*action).targetList, map);
            }
        }
        if let Some(conflict) = (*query).onConflict.as_mut() {
            if is_target {
                conflict.onConflictSet = targets(conflict.onConflictSet, map);
            } else if conflict.exclRelIndex == index {
                let relation = pg_sys::table_open(leaf, pg_sys::AccessShareLock as i32);
                conflict.exclRelTlist =
                    pg_sys::BuildOnConflictExcludedTargetlist(relation, index as pg_sys::Index);
                pg_sys::table_close(relation, pg_sys::NoLock as i32);
            }
        }
    }
}

/// Whether a statement names a row as a whole somewhere.
///
/// # Safety
/// `query` is valid.
pub unsafe fn takes_whole_rows(query: *mut Query) -> bool {
    // SAFETY: per the contract; the walker needs no context.
    unsafe { visit(query.cast(), null_mut()) }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn visit(node: *mut Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: casts follow the tag.
    unsafe {
        match (*node).type_ {
            NodeTag::T_Var => (*node.cast::<pg_sys::Var>()).varattno == 0,
            NodeTag::T_Query => pg_sys::query_tree_walker(node.cast(), Some(visit), context, 0),
            // All that could be asked for of EXCLUDED, its row too, is listed beside.
            NodeTag::T_OnConflictExpr => {
                let conflict = &*node.cast::<pg_sys::OnConflictExpr>();
                visit(conflict.arbiterElems.cast(), context)
                    || visit(conflict.arbiterWhere, context)
                    || visit(conflict.onConflictSet.cast(), context)
                    || visit(conflict.onConflictWhere, context)
            }
            _ => pg_sys::expression_tree_walker(node, Some(visit), context),
        }
    }
}

/// The number of a column in the leaf.
unsafe fn number(map: *const AttrMap, column: i32) -> i32 {
    // SAFETY: a map of the parent's columns.
    unsafe {
        let is_column = column > 0 && column <= (*map).maplen;
        if is_column { i32::from(*(*map).attnums.add(column as usize - 1)) } else { column }
    }
}

/// Assignments in the order of the leaf's columns, as the planner wants them.
unsafe fn targets(list: *mut List, map: *const AttrMap) -> *mut List {
    // SAFETY: a list of target entries of the copy; guarded.
    unsafe {
        let mut all: Vec<*mut TargetEntry> = cells(list).collect();
        for entry in all.iter().filter(|entry| !(***entry).resjunk) {
            (**entry).resno = number(map, i32::from((**entry).resno)) as i16;
        }
        all.sort_by_key(|entry| ((**entry).resjunk, (**entry).resno));
        all.into_iter().fold(null_mut(), |list, entry| pg_sys::lappend(list, entry.cast()))
    }
}

unsafe fn numbers(columns: *mut pg_sys::Bitmapset, map: *const AttrMap) -> *mut pg_sys::Bitmapset {
    let offset = pg_sys::FirstLowInvalidHeapAttributeNumber;
    // SAFETY: a valid set; guarded.
    unsafe {
        let (mut mapped, mut member) = (null_mut(), -1);
        loop {
            member = pg_sys::bms_next_member(columns, member);
            if member < 0 {
                return mapped;
            }
            mapped = pg_sys::bms_add_member(mapped, number(map, member + offset) - offset);
        }
    }
}
