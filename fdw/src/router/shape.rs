//! What a statement must not contain to be sent as a whole: looked at query by
//! query and table by table, before anything is known of values.
#![allow(unsafe_code)]

use std::ffi::c_char;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{CmdType, RTEKind};

use super::columns::takes_whole_rows;
use super::decision::refuse;
use super::levels::{Level, Levels};
use super::merge::actions;
use super::routed::Table;
use crate::backend::cells;
use crate::cluster_map;
use crate::error::Error;

/// What makes a statement something else than one statement on another node.
///
/// # Safety
/// `query` is a valid analysed statement.
pub unsafe fn check_shape(query: *const pg_sys::Query) -> Result<(), Error> {
    // SAFETY: a valid query.
    let q = unsafe { &*query };
    if !matches!(
        q.commandType,
        CmdType::CMD_SELECT
            | CmdType::CMD_INSERT
            | CmdType::CMD_UPDATE
            | CmdType::CMD_DELETE
            | CmdType::CMD_MERGE
    ) {
        return refuse("it is a command that is not routed");
    }
    if q.querySource != pg_sys::QuerySource::QSRC_ORIGINAL {
        return refuse("it comes from a rule");
    }
    if q.hasModifyingCTE {
        return refuse("it contains a WITH query that writes");
    }
    Ok(())
}

/// What is not sent at any level.
///
/// # Safety
/// The level's query is valid and analysed.
pub unsafe fn check_level(level: &Level) -> Result<(), Error> {
    // SAFETY: a valid query.
    unsafe {
        let q = &*level.query;
        if q.hasRecursive {
            return refuse("it contains a recursive query");
        }
        for clause in cells::<pg_sys::RowMarkClause>(q.rowMarks) {
            let entry: *const pg_sys::RangeTblEntry =
                pg_sys::list_nth(q.rtable, (*clause).rti as i32 - 1).cast();
            if level.outer.is_some() || (*entry).rtekind != RTEKind::RTE_RELATION {
                return refuse("it locks rows of a subquery");
            }
        }
        Ok(())
    }
}

/// Which relations it may read and write, and how.
///
/// # Safety
/// The statement is valid and its relations are locked.
pub unsafe fn check_range_table(levels: &Levels, at: usize, tables: &[Table]) -> Result<(), Error> {
    // SAFETY: a valid query, its relations locked; guarded calls.
    unsafe {
        let query = levels.level(at).query;
        let command = (*query).commandType;
        let is_insert = command == CmdType::CMD_INSERT;
        let excluded = (*query).onConflict.as_ref().map_or(0, |c| c.exclRelIndex as u32);
        for (index, entry) in (1u32..).zip(cells::<pg_sys::RangeTblEntry>((*query).rtable)) {
            let e = &*entry;
            // A view that has been expanded is left for the check of rights alone.
            let is_view = e.rtekind == RTEKind::RTE_RELATION
                && e.relkind == pg_sys::RELKIND_VIEW as c_char
                && index != (*query).resultRelation as u32;
            let is_read_here = matches!(
                e.rtekind,
                RTEKind::RTE_JOIN
                    | RTEKind::RTE_SUBQUERY
                    | RTEKind::RTE_VALUES
                    | RTEKind::RTE_RESULT
                    | RTEKind::RTE_FUNCTION
            ) || (e.rtekind == RTEKind::RTE_CTE
                && levels.behind(at, entry).is_some());
            if is_view || is_read_here || index == excluded {
                continue;
            }
            if !tables.iter().any(|table| table.place == (at, index)) {
                check_replicated(query, index, entry)?;
                continue;
            }
            if !e.inh && !is_insert {
                return refuse("it reads a table with ONLY");
            }
            if !e.tablesample.is_null() {
                return refuse("it reads a sample");
            }
            let relation = pg_sys::table_open(e.relid, pg_sys::NoLock as i32);
            let is_target = index == (*query).resultRelation as u32;
            let sees_rows = is_target
                && (sees_rows_together((*relation).trigdesc, command, (*query).onConflict)
                    || actions(query).any(|action| {
                        let does = (*action).commandType;
                        sees_rows_together((*relation).trigdesc, does, null_mut())
                    }));
            let descriptor = (*relation).rd_att;
            let natts = (*descriptor).natts as usize;
            let has_dropped = (*descriptor).attrs.as_slice(natts).iter().any(|a| a.attisdropped);
            pg_sys::table_close(relation, pg_sys::NoLock as i32);
            if has_dropped && takes_whole_rows(levels.level(0).query) {
                return refuse("it takes rows as a whole of a table that had columns dropped");
            }
            if sees_rows {
                return refuse("the table has triggers with transition tables");
            }
        }
        Ok(())
    }
}

/// Whether a table has triggers that see all changed rows together. Row triggers are
/// the leaf's, and those FOR EACH STATEMENT are fired here.
unsafe fn sees_rows_together(
    triggers: *const pg_sys::TriggerDesc,
    command: CmdType::Type,
    conflict: *const pg_sys::OnConflictExpr,
) -> bool {
    // SAFETY: null or the relation's own, while it is open.
    let Some(t) = (unsafe { triggers.as_ref() }) else { return false };
    let updates = t.trig_update_old_table || t.trig_update_new_table;
    match command {
        CmdType::CMD_INSERT => t.trig_insert_new_table || (!conflict.is_null() && updates),
        CmdType::CMD_UPDATE => updates,
        CmdType::CMD_DELETE => t.trig_delete_old_table,
        _ => false,
    }
}

/// A replicated table is the same wherever the partition is, if it is only read,
/// with the rights of the user, which the partition's node looks at again.
unsafe fn check_replicated(
    query: *const pg_sys::Query,
    index: u32,
    entry: *const pg_sys::RangeTblEntry,
) -> Result<(), Error> {
    // SAFETY: the caller's valid query and entry.
    unsafe {
        let e = &*entry;
        let is_replicated = e.rtekind == RTEKind::RTE_RELATION
            && match cluster_map::map() {
                Some(map) => map.is_replicated(e.relid)?,
                None => false,
            };
        if !is_replicated {
            return refuse("it reads more than sharded and replicated tables");
        }
        if !e.inh || !e.tablesample.is_null() {
            return refuse("it reads a replicated table with ONLY, or a sample of it");
        }
        if e.checkAsUser != pg_sys::InvalidOid {
            return refuse("it reads a replicated table through a view");
        }
        if cells::<pg_sys::RowMarkClause>((*query).rowMarks).any(|mark| (*mark).rti == index) {
            return refuse("it locks rows of a replicated table");
        }
        Ok(())
    }
}
