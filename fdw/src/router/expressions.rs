//! Whether a statement means the same on the node of its partition.
#![allow(unsafe_code)]

use std::ffi::c_char;

use pgrx::pg_sys;
use pgrx::pg_sys::{CmdType, Node, NodeTag};

use super::decision::refuse;
use super::levels::Level;
use super::merge::actions;
use crate::backend::cells;
use crate::error::{Error, Refusal};
use crate::placement::Placement;
use crate::shippable::is_shippable_query;
use crate::types::is_builtin;

/// All nodes are alike for what may be sent.
const SOME_NODE: Placement = Placement::Node(cluster::NodeId(0));

/// Everything that is left to be computed at the leaf must mean the same there.
///
/// # Safety
/// The level's query is valid and rewritten.
pub unsafe fn check_expressions(level: &Level) -> Result<(), Error> {
    // SAFETY: a valid query, rewritten; guarded.
    unsafe {
        let q = &*level.query;
        let entries = cells::<pg_sys::RangeTblEntry>(q.rtable).count() as i32;
        let relids = pg_sys::bms_add_range(std::ptr::null_mut(), 1, entries);
        let ships = |node: *mut Node| {
            if node.is_null() {
                return Ok(());
            }
            is_shippable_query(node, relids, SOME_NODE)
                .map_err(|no| Error::from(Refusal::not_supported(no.reason)))
        };
        for entry in cells::<pg_sys::TargetEntry>(q.targetList) {
            let expression: *mut Node = (*entry).expr.cast();
            let is_value =
                q.commandType != CmdType::CMD_SELECT && (*expression).type_ == NodeTag::T_Param;
            if !is_value && !is_plain_column(entry) {
                ships(expression)?;
            }
        }
        for entry in cells::<pg_sys::TargetEntry>(q.returningList) {
            if !is_plain_column(entry) {
                ships((*entry).expr.cast())?;
            }
        }
        for node in conditions(q.jointree.cast()) {
            ships(node)?;
        }
        ships(q.havingQual)?;
        ships(q.limitOffset)?;
        ships(q.limitCount)?;
        for action in actions(q) {
            ships((*action).qual)?;
            for entry in cells::<pg_sys::TargetEntry>((*action).targetList) {
                let expression: *mut Node = (*entry).expr.cast();
                if !is_plain_column(entry) && (*expression).type_ != NodeTag::T_Param {
                    ships(expression)?;
                }
            }
        }
        if let Some(conflict) = q.onConflict.as_ref() {
            for entry in cells::<pg_sys::TargetEntry>(conflict.onConflictSet) {
                let expression: *mut Node = (*entry).expr.cast();
                if !is_plain_column(entry) && (*expression).type_ != NodeTag::T_Param {
                    ships(expression)?;
                }
            }
            ships(conflict.arbiterWhere)?;
            ships(conflict.onConflictWhere)?;
        }
        for entry in cells::<pg_sys::RangeTblEntry>(q.rtable) {
            for function in cells::<pg_sys::RangeTblFunction>((*entry).functions) {
                if !(*function).funccolnames.is_null() {
                    return refuse("a function in FROM returns records");
                }
                ships((*function).funcexpr)?;
            }
            for row in cells::<pg_sys::List>((*entry).values_lists) {
                for value in cells::<Node>(row).filter(|value| (**value).type_ != NodeTag::T_Param)
                {
                    ships(value)?;
                }
            }
        }
        for window in cells::<pg_sys::WindowClause>(q.windowClause) {
            ships((*window).startOffset)?;
            ships((*window).endOffset)?;
            for function in [(*window).startInRangeFunc, (*window).endInRangeFunc] {
                if !is_builtin(function) && function != pg_sys::InvalidOid {
                    return refuse("it uses a window frame of a type that is not built in");
                }
            }
        }
        let windows: Vec<*mut pg_sys::SortGroupClause> =
            cells::<pg_sys::WindowClause>(q.windowClause)
                .flat_map(|window| {
                    cells((*window).partitionClause).chain(cells((*window).orderClause))
                })
                .collect();
        let clauses = cells::<pg_sys::SortGroupClause>(q.sortClause)
            .chain(windows)
            .chain(cells(q.groupClause))
            .chain(cells(q.distinctClause));
        if !clauses.chain(set_clauses(q.setOperations)).all(|clause| is_known_clause(clause)) {
            return refuse("it sorts or groups by an operator that is not built in");
        }
        if level.outer.is_some() {
            return Ok(());
        }
        let output =
            if q.commandType == CmdType::CMD_SELECT { q.targetList } else { q.returningList };
        for entry in cells::<pg_sys::TargetEntry>(output) {
            let type_oid = pg_sys::exprType((*entry).expr.cast());
            if pg_sys::get_typtype(type_oid) == pg_sys::TYPTYPE_PSEUDO as c_char {
                return refuse("it returns values of a pseudo-type");
            }
        }
        Ok(())
    }
}

unsafe fn is_known_clause(clause: *const pg_sys::SortGroupClause) -> bool {
    let known = |operator| operator == pg_sys::InvalidOid || is_builtin(operator);
    // SAFETY: a valid clause.
    unsafe { known((*clause).sortop) && known((*clause).eqop) }
}

/// How a UNION and its kin tell rows apart.
unsafe fn set_clauses(node: *mut Node) -> Vec<*mut pg_sys::SortGroupClause> {
    // SAFETY: null or a tree of set operations and their inputs.
    unsafe {
        if node.is_null() || (*node).type_ != NodeTag::T_SetOperationStmt {
            return Vec::new();
        }
        let operation: *mut pg_sys::SetOperationStmt = node.cast();
        let mut all: Vec<_> = cells((*operation).groupClauses).collect();
        all.extend(set_clauses((*operation).larg));
        all.extend(set_clauses((*operation).rarg));
        all
    }
}

/// A column that is only passed on: whatever its type, nothing is computed with it.
unsafe fn is_plain_column(entry: *const pg_sys::TargetEntry) -> bool {
    // SAFETY: a valid entry.
    unsafe {
        let expression: *const Node = (*entry).expr.cast();
        (*entry).ressortgroupref == 0
            && (*expression).type_ == NodeTag::T_Var
            && (*expression.cast::<pg_sys::Var>()).varattno > 0
    }
}

/// The conditions of a join tree.
///
/// # Safety
/// `node` is null or a join tree.
pub unsafe fn conditions(node: *mut Node) -> Vec<*mut Node> {
    // SAFETY: a join tree of tables and inner joins; casts follow the tags.
    unsafe {
        if node.is_null() {
            return Vec::new();
        }
        match (*node).type_ {
            NodeTag::T_FromExpr => {
                let from: *mut pg_sys::FromExpr = node.cast();
                let mut all: Vec<*mut Node> =
                    cells::<Node>((*from).fromlist).flat_map(|item| conditions(item)).collect();
                all.push((*from).quals);
                all
            }
            NodeTag::T_JoinExpr => {
                let join: *mut pg_sys::JoinExpr = node.cast();
                let mut all = conditions((*join).larg);
                all.extend(conditions((*join).rarg));
                all.push((*join).quals);
                all
            }
            _ => Vec::new(),
        }
    }
}
