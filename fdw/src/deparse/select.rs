//! `SELECT columns FROM relation WHERE conditions [ORDER BY …] [FOR …]`.
//!
//! For a leaf the statement is built as a `Query` and printed by
//! `pg_get_querydef`: the same way that joins and aggregates will go. A table of
//! a user's own server has other names than here, so its FROM clause is written
//! out and only the conditions are printed.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag};

use super::leaf_schema::at_owner;
use super::order::{add_order, order_clause};
use super::{Parameters, SortKey};
use crate::backend::{Attribute, bytes_of, cells, quote_identifier};
use crate::placement::{Placement, RemoteRelation};
use crate::types::TransmissionModes;

/// FOR UPDATE and its kin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowLock {
    /// UPDATE, NO KEY UPDATE, SHARE, KEY SHARE.
    pub strength: pg_sys::LockClauseStrength::Type,
    /// Wait, NOWAIT, SKIP LOCKED.
    pub wait: pg_sys::LockWaitPolicy::Type,
}

/// What to print.
pub struct Select<'a> {
    /// Where it will run.
    pub placement: Placement,
    /// The relation here.
    pub relid: pg_sys::Oid,
    /// Its range table index in the conditions.
    pub index: u32,
    /// All its columns.
    pub attributes: &'a [Attribute],
    /// Attribute numbers to return, in order; -1 is ctid.
    pub columns: &'a [i32],
    /// Conditions, all of them shippable, AND between them.
    pub conditions: *mut pg_sys::List,
    /// The order of the rows.
    pub order: &'a [SortKey],
    /// Row locks.
    pub lock: Option<RowLock>,
    /// The relation's range table entry.
    pub rte: *const pg_sys::RangeTblEntry,
}

/// The SQL and, in `parameters`, what its `$n` stand for.
///
/// # Safety
/// The pointers in `select` are the planner's.
pub unsafe fn select_statement(select: &Select<'_>, parameters: &mut Parameters) -> Vec<u8> {
    // SAFETY: guarded calls on copies of valid nodes.
    unsafe {
        let mut over_there = |expression: *mut Node| {
            let copy = parameters.number(pg_sys::copyObjectImpl(expression.cast()).cast());
            pg_sys::ChangeVarNodes(copy, select.index as i32, 1, 0);
            copy
        };
        let mut quals: *mut pg_sys::List = null_mut();
        for condition in cells::<Node>(select.conditions) {
            quals = pg_sys::lappend(quals, over_there(condition).cast());
        }
        match select.placement {
            Placement::Node(_) => {
                // Every name comes out qualified.
                let modes = TransmissionModes::enter(Some("pg_catalog"));
                let query = query(select, quals);
                add_order(query, select.order, over_there);
                let text = pg_sys::pg_get_querydef(query, false);
                modes.leave();
                at_owner(&bytes_of(text))
            }
            Placement::Server(_) => {
                let modes = TransmissionModes::enter(Some("pg_catalog"));
                let text = written_out(select, quals, over_there);
                modes.leave();
                text
            }
        }
    }
}

pub(super) unsafe fn make<T>(tag: NodeTag) -> *mut T {
    // SAFETY: zeroed memory of the node's size; every node begins with its tag.
    unsafe {
        let node = pg_sys::palloc0(size_of::<T>());
        (*node.cast::<Node>()).type_ = tag;
        node.cast()
    }
}

/// A range table entry of a plan as one that prints as the bare relation.
///
/// # Safety
/// `rte` is a valid entry of a relation.
pub(super) unsafe fn leaf_entry(rte: *const pg_sys::RangeTblEntry) -> *mut pg_sys::RangeTblEntry {
    // SAFETY: a copy of a valid node; guarded.
    unsafe {
        let rte: *mut pg_sys::RangeTblEntry = pg_sys::copyObjectImpl(rte.cast()).cast();
        // A partition's entry in an expanded plan carries its parent's alias.
        (*rte).alias = null_mut();
        (*(*rte).eref).aliasname = pg_sys::get_rel_name((*rte).relid);
        (*rte).inh = true;
        (*rte).inFromCl = true;
        (*rte).lateral = false;
        (*rte).tablesample = null_mut();
        (*rte).securityQuals = null_mut();
        rte
    }
}

unsafe fn query(select: &Select<'_>, quals: *mut pg_sys::List) -> *mut pg_sys::Query {
    // SAFETY: nodes made here, and a copy of a valid range table entry.
    unsafe {
        let rte = leaf_entry(select.rte);
        let reference: *mut pg_sys::RangeTblRef = make(NodeTag::T_RangeTblRef);
        (*reference).rtindex = 1;
        let from: *mut pg_sys::FromExpr = make(NodeTag::T_FromExpr);
        (*from).fromlist = pg_sys::lappend(null_mut(), reference.cast());
        if !quals.is_null() {
            (*from).quals = pg_sys::make_ands_explicit(quals).cast();
        }

        let query: *mut pg_sys::Query = make(NodeTag::T_Query);
        (*query).commandType = pg_sys::CmdType::CMD_SELECT;
        (*query).canSetTag = true;
        (*query).rtable = pg_sys::lappend(null_mut(), rte.cast());
        (*query).jointree = from;
        for (i, column) in select.columns.iter().enumerate() {
            let variable = variable(select, *column);
            let entry = pg_sys::makeTargetEntry(variable.cast(), i as i16 + 1, null_mut(), false);
            (*query).targetList = pg_sys::lappend((*query).targetList, entry.cast());
        }
        if let Some(lock) = select.lock {
            let mark: *mut pg_sys::RowMarkClause = make(NodeTag::T_RowMarkClause);
            (*mark).rti = 1;
            (*mark).strength = lock.strength;
            (*mark).waitPolicy = lock.wait;
            (*query).rowMarks = pg_sys::lappend(null_mut(), mark.cast());
            (*query).hasForUpdate = true;
        }
        query
    }
}

unsafe fn variable(select: &Select<'_>, column: i32) -> *mut pg_sys::Var {
    let found = select.attributes.iter().find(|a| i32::from(a.number) == column);
    let (type_oid, typmod) = found.map_or((pg_sys::TIDOID, -1), |a| (a.type_oid, a.typmod));
    // SAFETY: guarded; the collation does not show in print.
    unsafe { pg_sys::makeVar(1, column as i16, type_oid, typmod, pg_sys::InvalidOid, 0) }
}

unsafe fn written_out(
    select: &Select<'_>,
    quals: *mut pg_sys::List,
    mut over_there: impl FnMut(*mut Node) -> *mut Node,
) -> Vec<u8> {
    let relation = RemoteRelation::of(select.relid, select.placement);
    let renamed = select.attributes.iter().any(|a| relation.column(a) != quote_identifier(&a.name));
    let names: Vec<Vec<u8>> = select.columns.iter().map(|c| local_name(select, *c)).collect();
    let mut sql = b"SELECT".to_vec();
    if !names.is_empty() {
        sql.push(b' ');
    }
    sql.extend(names.join(&b", "[..]));
    sql.extend(b" FROM ");
    if renamed {
        // Conditions are printed with local names: give the columns those.
        let mut columns = Vec::new();
        // SAFETY: guarded; walks a list of expressions.
        if select.columns.contains(&-1) || unsafe { mentions_ctid(select, quals) } {
            columns.push(b"ctid AS ctid".to_vec());
        }
        for attribute in select.attributes {
            let mut column = relation.column(attribute);
            column.extend(b" AS ");
            column.extend(quote_identifier(&attribute.name));
            columns.push(column);
        }
        sql.extend(b"(SELECT ");
        sql.extend(columns.join(&b", "[..]));
        sql.extend(b" FROM ");
        sql.extend(&relation.sql_name);
        sql.extend(b") r1");
    } else {
        sql.extend(&relation.sql_name);
        sql.extend(b" r1");
    }
    // SAFETY: guarded; the context names the one relation of the expressions.
    let print = |expression: *mut Node| unsafe {
        let context = pg_sys::deparse_context_for(c"r1".as_ptr(), select.relid);
        bytes_of(pg_sys::deparse_expression(expression, context, false, false))
    };
    if !quals.is_null() {
        sql.extend(b" WHERE ");
        // SAFETY: guarded; a list of expressions.
        sql.extend(print(unsafe { pg_sys::make_ands_explicit(quals) }.cast()));
    }
    // SAFETY: the caller's keys. A bare name is the column's, which is also the
    // only name that a result column can have.
    sql.extend(unsafe { order_clause(select.order, |e| print(over_there(e))) });
    if let Some(lock) = select.lock {
        sql.extend(lock_clause(lock));
    }
    sql
}

unsafe fn mentions_ctid(select: &Select<'_>, quals: *mut pg_sys::List) -> bool {
    let mut found: *mut pg_sys::Bitmapset = null_mut();
    // SAFETY: guarded; the members are attribute numbers plus 7.
    unsafe {
        pg_sys::pull_varattnos(quals.cast(), 1, &raw mut found);
        for key in select.order {
            pg_sys::pull_varattnos(key.expression, select.index, &raw mut found);
        }
        let offset = pg_sys::FirstLowInvalidHeapAttributeNumber;
        pg_sys::bms_is_member(pg_sys::SelfItemPointerAttributeNumber - offset, found)
    }
}

fn local_name(select: &Select<'_>, column: i32) -> Vec<u8> {
    let found = select.attributes.iter().find(|a| i32::from(a.number) == column);
    found.map_or_else(|| b"ctid".to_vec(), |a| quote_identifier(&a.name))
}

fn lock_clause(lock: RowLock) -> Vec<u8> {
    [lock.strength_sql(), lock.wait_sql()].concat()
}

impl RowLock {
    /// ` FOR …`.
    pub fn strength_sql(self) -> &'static [u8] {
        use pg_sys::LockClauseStrength as Strength;
        match self.strength {
            Strength::LCS_FORKEYSHARE => b" FOR KEY SHARE",
            Strength::LCS_FORSHARE => b" FOR SHARE",
            Strength::LCS_FORNOKEYUPDATE => b" FOR NO KEY UPDATE",
            _ => b" FOR UPDATE",
        }
    }

    /// ` NOWAIT`, ` SKIP LOCKED` or nothing.
    pub fn wait_sql(self) -> &'static [u8] {
        match self.wait {
            pg_sys::LockWaitPolicy::LockWaitSkip => b" SKIP LOCKED",
            pg_sys::LockWaitPolicy::LockWaitError => b" NOWAIT",
            _ => b"",
        }
    }
}
