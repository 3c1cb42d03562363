//! `UPDATE … SET … WHERE …` and `DELETE … WHERE …` of one relation, with
//! expressions that the other side evaluates. As for `select`: printed by the
//! server for a leaf, written out for a table of a user's own server.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{CmdType, Node, NodeTag};

use super::leaf_schema::at_owner;
use crate::backend::{Attribute, bytes_of, cells, quote_identifier};
use crate::placement::{Placement, RemoteRelation};
use crate::types::TransmissionModes;

/// What to print. All expressions are copies whose Params are numbered.
pub struct Direct<'a> {
    /// UPDATE or DELETE.
    pub operation: CmdType::Type,
    /// Where it will run.
    pub placement: Placement,
    /// The relation here.
    pub relid: pg_sys::Oid,
    /// Its range table index in the expressions.
    pub index: u32,
    /// All its columns.
    pub attributes: &'a [Attribute],
    /// Attribute numbers and their new values.
    pub assignments: &'a [(i16, *mut Node)],
    /// Conditions, AND between them.
    pub conditions: *mut pg_sys::List,
    /// Attribute numbers to return, in order; -1 is ctid.
    pub returning: &'a [i32],
    /// The relation's range table entry.
    pub rte: *const pg_sys::RangeTblEntry,
}

/// The SQL; `None` if it cannot be written because columns are called
/// otherwise over there.
///
/// # Safety
/// The pointers in `direct` are valid; the expressions may be changed.
pub unsafe fn direct_statement(direct: &Direct<'_>) -> Option<Vec<u8>> {
    // SAFETY: guarded calls on the caller's copies.
    unsafe {
        for condition in cells::<Node>(direct.conditions) {
            pg_sys::ChangeVarNodes(condition, direct.index as i32, 1, 0);
        }
        for (_, value) in direct.assignments {
            pg_sys::ChangeVarNodes(*value, direct.index as i32, 1, 0);
        }
        let modes = TransmissionModes::enter(Some("pg_catalog"));
        let sql = match direct.placement {
            Placement::Node(_) => {
                Some(at_owner(&bytes_of(pg_sys::pg_get_querydef(query(direct), false))))
            }
            Placement::Server(_) => written_out(direct),
        };
        modes.leave();
        sql
    }
}

unsafe fn make<T>(tag: NodeTag) -> *mut T {
    // SAFETY: zeroed memory of the node's size; every node begins with its tag.
    unsafe {
        let node = pg_sys::palloc0(size_of::<T>());
        (*node.cast::<Node>()).type_ = tag;
        node.cast()
    }
}

unsafe fn query(direct: &Direct<'_>) -> *mut pg_sys::Query {
    // SAFETY: nodes made here, and a copy of a valid range table entry.
    unsafe {
        let rte: *mut pg_sys::RangeTblEntry = pg_sys::copyObjectImpl(direct.rte.cast()).cast();
        // A partition's entry in an expanded plan carries its parent's alias.
        (*rte).alias = null_mut();
        let eref: *mut pg_sys::Alias = pg_sys::copyObjectImpl((*rte).eref.cast()).cast();
        (*eref).aliasname = pg_sys::get_rel_name(direct.relid);
        (*rte).eref = eref;
        (*rte).inh = true;
        // The target is not repeated in FROM.
        (*rte).inFromCl = false;
        (*rte).securityQuals = null_mut();

        let reference: *mut pg_sys::RangeTblRef = make(NodeTag::T_RangeTblRef);
        (*reference).rtindex = 1;
        let from: *mut pg_sys::FromExpr = make(NodeTag::T_FromExpr);
        (*from).fromlist = pg_sys::lappend(null_mut(), reference.cast());
        if !direct.conditions.is_null() {
            (*from).quals = pg_sys::make_ands_explicit(direct.conditions).cast();
        }

        let query: *mut pg_sys::Query = make(NodeTag::T_Query);
        (*query).commandType = direct.operation;
        (*query).canSetTag = true;
        (*query).resultRelation = 1;
        (*query).rtable = pg_sys::lappend(null_mut(), rte.cast());
        (*query).jointree = from;
        for (number, value) in direct.assignments {
            let entry = pg_sys::makeTargetEntry(value.cast(), *number, null_mut(), false);
            (*query).targetList = pg_sys::lappend((*query).targetList, entry.cast());
        }
        for (i, column) in direct.returning.iter().enumerate() {
            let found = direct.attributes.iter().find(|a| i32::from(a.number) == *column);
            let (type_oid, typmod) = found.map_or((pg_sys::TIDOID, -1), |a| (a.type_oid, a.typmod));
            let variable =
                pg_sys::makeVar(1, *column as i16, type_oid, typmod, pg_sys::InvalidOid, 0);
            let entry = pg_sys::makeTargetEntry(variable.cast(), i as i16 + 1, null_mut(), false);
            (*query).returningList = pg_sys::lappend((*query).returningList, entry.cast());
        }
        query
    }
}

unsafe fn written_out(direct: &Direct<'_>) -> Option<Vec<u8>> {
    let relation = RemoteRelation::of(direct.relid, direct.placement);
    // Expressions are printed with local names, and UPDATE has no place where
    // columns could be given those.
    if direct.attributes.iter().any(|a| relation.column(a) != quote_identifier(&a.name)) {
        return None;
    }
    // SAFETY: guarded; the context names the one relation of the expressions.
    let printed = |expression: *mut Node| unsafe {
        let context = pg_sys::deparse_context_for(c"r1".as_ptr(), direct.relid);
        bytes_of(pg_sys::deparse_expression(expression, context, false, false))
    };
    let name = |number: i32| relation.column_by_number(direct.attributes, number);
    let is_update = direct.operation == CmdType::CMD_UPDATE;
    let mut sql = if is_update { b"UPDATE ".to_vec() } else { b"DELETE FROM ".to_vec() };
    sql.extend(&relation.sql_name);
    sql.extend(b" r1");
    if is_update {
        let set: Vec<Vec<u8>> = direct
            .assignments
            .iter()
            .map(|(number, value)| {
                let mut one = name(i32::from(*number));
                one.extend(b" = ");
                one.extend(printed(*value));
                one
            })
            .collect();
        sql.extend(b" SET ");
        sql.extend(set.join(&b", "[..]));
    }
    if !direct.conditions.is_null() {
        sql.extend(b" WHERE ");
        // SAFETY: guarded; a list of expressions.
        sql.extend(printed(unsafe { pg_sys::make_ands_explicit(direct.conditions) }.cast()));
    }
    if !direct.returning.is_empty() {
        let columns: Vec<Vec<u8>> = direct.returning.iter().map(|n| name(*n)).collect();
        sql.extend(b" RETURNING ");
        sql.extend(columns.join(&b", "[..]));
    }
    Some(sql)
}
