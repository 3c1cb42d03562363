//! Row security and views that are security barriers.
//!
//! SQL has no words for conditions that are to be checked before all others. They
//! become conditions like any other where nothing could look at a row before them:
//! where no function that might tell of its arguments stands among the others.
//!
//! A policy's check of new rows cannot be sent at all. Of an UPDATE it holds if the
//! same policy let the old row through and nothing that it reads is assigned; of an
//! INSERT it is a condition on values that are known here, and checked here.
#![allow(unsafe_code)]

use std::ffi::c_void;

use pgrx::pg_sys;
use pgrx::pg_sys::{CmdType, Node, NodeTag, RTEKind};

use super::decision::refuse;
use super::expressions::conditions;
use super::hoist::depends_on_rows;
use super::levels::{Level, Levels, Role};
use super::routed::Violation;
use crate::backend::{cells, text_of};
use crate::error::Error;

/// What must be true of an INSERT's values.
pub struct Check {
    /// Over nothing but values.
    pub condition: *mut Node,
    /// If it is not.
    pub violation: Violation,
}

/// A statement without security conditions, which says the same.
pub struct Secured {
    /// A copy, if anything had to be changed.
    pub query: *mut pg_sys::Query,
    /// Of it.
    pub levels: Levels,
    /// To be made before it runs.
    pub checks: Vec<Check>,
}

impl Secured {
    /// # Safety
    /// `query` is a valid statement and `levels` are its own; it is not changed.
    pub unsafe fn of(query: *mut pg_sys::Query, levels: Levels) -> Result<Secured, Error> {
        // SAFETY: per the contract; what is changed is a copy.
        unsafe {
            let has_barrier = levels.iter().any(|(_, level)| {
                !(*level.query).withCheckOptions.is_null()
                    || cells::<pg_sys::RangeTblEntry>((*level.query).rtable)
                        .any(|entry| (*entry).security_barrier || !(*entry).securityQuals.is_null())
            });
            if !has_barrier {
                return Ok(Secured { query, levels, checks: Vec::new() });
            }
            // Its condition decides which rows match, not which may be seen.
            if (*query).commandType == CmdType::CMD_MERGE {
                return refuse("row security applies to a table of a MERGE");
            }
            for (at, level) in levels.iter() {
                if !is_behind_barrier(&levels, at) {
                    for condition in conditions((*level.query).jointree.cast()) {
                        if !condition.is_null() && pg_sys::contain_leaked_vars(condition) {
                            return refuse("row security must come before one of its conditions");
                        }
                    }
                }
            }
            let query: *mut pg_sys::Query = pg_sys::copyObjectImpl(query.cast()).cast();
            let levels = Levels::of(query);
            let checks = checks(query)?;
            for (_, level) in levels.iter() {
                merge(level)?;
            }
            Ok(Secured { query, levels, checks })
        }
    }
}

/// Whether a query is a barrier's own, whose conditions are part of it.
unsafe fn is_behind_barrier(levels: &Levels, at: usize) -> bool {
    let level = levels.level(at);
    let (Some(outer), Role::From(index)) = (level.outer, level.role) else {
        return level.outer.is_some_and(|outer| {
            // SAFETY: the same statement's.
            unsafe { is_behind_barrier(levels, outer) }
        });
    };
    // SAFETY: the statement lives; the index is of the query around.
    unsafe {
        let rtable = (*levels.level(outer).query).rtable;
        let entry: *const pg_sys::RangeTblEntry = pg_sys::list_nth(rtable, index as i32 - 1).cast();
        (*entry).security_barrier || is_behind_barrier(levels, outer)
    }
}

/// Makes the security conditions of a query's tables conditions of the query.
unsafe fn merge(level: &Level) -> Result<(), Error> {
    // SAFETY: a copy; lists hold what analysis has put there; guarded.
    unsafe {
        let query = level.query;
        for (index, entry) in (1u32..).zip(cells::<pg_sys::RangeTblEntry>((*query).rtable)) {
            let security = (*entry).securityQuals;
            if security.is_null() {
                continue;
            }
            if (*entry).rtekind != RTEKind::RTE_RELATION
                || !is_always_there((*query).jointree.cast(), index)
            {
                return refuse("row security applies to a table that may be left out of a row");
            }
            (*entry).securityQuals = std::ptr::null_mut();
            for (number, condition) in cells::<Node>(security).enumerate() {
                // A subquery may be joined in, and that after what looks at the row.
                if pg_sys::checkExprHasSubLink(condition) {
                    return refuse("row security reads more than the row");
                }
                // Each is to be checked before the next.
                if number > 0 && pg_sys::contain_leaked_vars(condition) {
                    return refuse("row security must come before one of its conditions");
                }
                let from = (*query).jointree;
                (*from).quals = pg_sys::make_and_qual(condition, (*from).quals);
            }
        }
        Ok(())
    }
}

/// Whether each row of a join tree has a row of this entry in it.
///
/// # Safety
/// `node` is a join tree of an analysed query.
pub unsafe fn is_always_there(node: *mut Node, index: u32) -> bool {
    // SAFETY: a join tree; casts follow the tags.
    unsafe {
        match (*node).type_ {
            NodeTag::T_RangeTblRef => (*node.cast::<pg_sys::RangeTblRef>()).rtindex as u32 == index,
            NodeTag::T_FromExpr => cells::<Node>((*node.cast::<pg_sys::FromExpr>()).fromlist)
                .any(|item| is_always_there(item, index)),
            NodeTag::T_JoinExpr => {
                let join = &*node.cast::<pg_sys::JoinExpr>();
                let (left, right) = match join.jointype {
                    pg_sys::JoinType::JOIN_INNER => (true, true),
                    pg_sys::JoinType::JOIN_LEFT => (true, false),
                    pg_sys::JoinType::JOIN_RIGHT => (false, true),
                    _ => (false, false),
                };
                (left && is_always_there(join.larg, index))
                    || (right && is_always_there(join.rarg, index))
            }
            _ => false,
        }
    }
}

/// Takes the checks of new rows off a statement.
unsafe fn checks(query: *mut pg_sys::Query) -> Result<Vec<Check>, Error> {
    // SAFETY: a copy; lists hold what analysis has put there; guarded.
    unsafe {
        let options = (*query).withCheckOptions;
        if options.is_null() {
            return Ok(Vec::new());
        }
        let target: *mut pg_sys::RangeTblEntry =
            pg_sys::list_nth((*query).rtable, (*query).resultRelation - 1).cast();
        let mut checks = Vec::new();
        for option in cells::<pg_sys::WithCheckOption>(options) {
            let condition: *mut Node = (*option).qual.cast();
            match (*query).commandType {
                CmdType::CMD_UPDATE => {
                    let held_before = cells::<Node>((*target).securityQuals)
                        .any(|old| pg_sys::equal(old.cast(), condition.cast()));
                    if !held_before || reads_assigned(query, condition) {
                        return refuse("a check of new rows cannot be made on another node");
                    }
                }
                CmdType::CMD_INSERT if is_check_of_conflict(query, option)? => {}
                CmdType::CMD_INSERT => checks.push(check_of_values(query, target, option)?),
                _ => return refuse("a check of new rows cannot be made on another node"),
            }
        }
        (*query).withCheckOptions = std::ptr::null_mut();
        Ok(checks)
    }
}

/// Whether a condition on the target reads a column that an UPDATE assigns to, one
/// that is computed from others, or the row as a whole.
unsafe fn reads_assigned(query: *const pg_sys::Query, condition: *mut Node) -> bool {
    // SAFETY: a valid query; guarded.
    unsafe {
        let target = (*query).resultRelation;
        let mut read: *mut pg_sys::Bitmapset = std::ptr::null_mut();
        pg_sys::pull_varattnos(condition, target as pg_sys::Index, &raw mut read);
        let offset = pg_sys::FirstLowInvalidHeapAttributeNumber;
        let reads = |attribute: i16| pg_sys::bms_is_member(i32::from(attribute) - offset, read);
        let reads_below_columns = (offset + 1..=0).any(|attribute| reads(attribute as i16));
        let has_subquery = pg_sys::checkExprHasSubLink(condition);
        let assigned = cells::<pg_sys::TargetEntry>((*query).targetList)
            .any(|entry| !(*entry).resjunk && reads((*entry).resno));
        let entry: *const pg_sys::RangeTblEntry =
            pg_sys::list_nth((*query).rtable, target - 1).cast();
        has_subquery
            || reads_below_columns
            || assigned
            || has_generated_or_triggers((*entry).relid, &reads, CmdType::CMD_UPDATE)
    }
}

/// Whether a new row may differ from what the statement gives it, in columns that
/// count.
unsafe fn has_generated_or_triggers(
    relid: pg_sys::Oid,
    counts: &dyn Fn(i16) -> bool,
    command: CmdType::Type,
) -> bool {
    // SAFETY: the relation is locked; guarded; read while it is open.
    unsafe {
        let relation = pg_sys::table_open(relid, pg_sys::NoLock as i32);
        let descriptor = (*relation).rd_att;
        let natts = (*descriptor).natts as usize;
        let is_generated = (*descriptor)
            .attrs
            .as_slice(natts)
            .iter()
            .any(|attribute| attribute.attgenerated != 0 && counts(attribute.attnum));
        let has_triggers = (*relation).trigdesc.as_ref().is_some_and(|t| match command {
            CmdType::CMD_INSERT => t.trig_insert_before_row,
            _ => t.trig_update_before_row,
        });
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        is_generated || has_triggers
    }
}

/// Whether it is a check of what ON CONFLICT DO UPDATE finds and leaves behind. Such
/// a one holds if the row to be inserted was let in for the same reason, one that lies
/// in columns that both rows have in common.
unsafe fn is_check_of_conflict(
    query: *const pg_sys::Query,
    option: *const pg_sys::WithCheckOption,
) -> Result<bool, Error> {
    // SAFETY: a copy of a valid query; lists hold what analysis has put there; guarded.
    unsafe {
        if (*option).kind == pg_sys::WCOKind::WCO_RLS_INSERT_CHECK {
            return Ok(false);
        }
        let lets_in = cells::<pg_sys::WithCheckOption>((*query).withCheckOptions).any(|other| {
            (*other).kind == pg_sys::WCOKind::WCO_RLS_INSERT_CHECK
                && pg_sys::equal((*other).qual.cast(), (*option).qual.cast())
        });
        let conflict = (*query).onConflict;
        if !lets_in || conflict.is_null() || pg_sys::checkExprHasSubLink((*option).qual) {
            return refuse("a check of new rows cannot be made on another node");
        }
        let mut read: *mut pg_sys::Bitmapset = std::ptr::null_mut();
        let target = (*query).resultRelation as pg_sys::Index;
        pg_sys::pull_varattnos((*option).qual, target, &raw mut read);
        let offset = pg_sys::FirstLowInvalidHeapAttributeNumber;
        let mut common: *mut pg_sys::Bitmapset = std::ptr::null_mut();
        for element in cells::<pg_sys::InferenceElem>((*conflict).arbiterElems) {
            if (*(*element).expr).type_ == NodeTag::T_Var {
                let column = (*(*element).expr.cast::<pg_sys::Var>()).varattno;
                common = pg_sys::bms_add_member(common, i32::from(column) - offset);
            }
        }
        for assigned in cells::<pg_sys::TargetEntry>((*conflict).onConflictSet) {
            common = pg_sys::bms_del_member(common, i32::from((*assigned).resno) - offset);
        }
        match pg_sys::bms_is_subset(read, common) {
            true => Ok(true),
            false => refuse("a check of new rows cannot be made on another node"),
        }
    }
}

struct Values {
    target: i32,
    list: *mut pg_sys::List,
}

unsafe fn check_of_values(
    query: *const pg_sys::Query,
    target: *const pg_sys::RangeTblEntry,
    option: *const pg_sys::WithCheckOption,
) -> Result<Check, Error> {
    // SAFETY: a copy of a valid query; guarded; names are C strings or null.
    unsafe {
        let from = (*query).jointree;
        let is_one_row = from.is_null() || (*from).fromlist.is_null();
        if !is_one_row
            || (*option).kind != pg_sys::WCOKind::WCO_RLS_INSERT_CHECK
            || has_generated_or_triggers((*target).relid, &|_| true, CmdType::CMD_INSERT)
        {
            return refuse("a check of new rows cannot be made on another node");
        }
        let mut values = Values { target: (*query).resultRelation, list: (*query).targetList };
        let condition = substitute((*option).qual.cast(), (&raw mut values).cast());
        if depends_on_rows(condition) || pg_sys::contain_volatile_functions(condition) {
            return refuse("a check of new rows cannot be made on another node");
        }
        let relation = text_of((*option).relname);
        let policy = (!(*option).polname.is_null()).then(|| text_of((*option).polname));
        Ok(Check { condition, violation: Violation { relation, policy } })
    }
}

/// Puts the values of the new row in place of its columns.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn substitute(node: *mut Node, context: *mut c_void) -> *mut Node {
    if node.is_null() {
        return node;
    }
    // SAFETY: casts follow the tag; `context` is the `Values` of the caller.
    unsafe {
        if (*node).type_ == NodeTag::T_Var {
            let variable = &*node.cast::<pg_sys::Var>();
            let values = &*context.cast::<Values>();
            if variable.varno == values.target && variable.varlevelsup == 0 && variable.varattno > 0
            {
                let value = cells::<pg_sys::TargetEntry>(values.list)
                    .find(|entry| (**entry).resno == variable.varattno && !(**entry).resjunk);
                return match value {
                    Some(entry) => pg_sys::copyObjectImpl((*entry).expr.cast()).cast(),
                    None => pg_sys::makeNullConst(
                        variable.vartype,
                        variable.vartypmod,
                        variable.varcollid,
                    )
                    .cast(),
                };
            }
        }
        pg_sys::expression_tree_mutator(node, Some(super::hoist::open(substitute)), context)
    }
}
