//! INSERT of several rows, from VALUES or SELECT.
//!
//! The analysed statement fills columns that those do not mention with an
//! expression beside them, evaluated for each row; printed as SQL, VALUES or SELECT
//! alone is left. Here every row gets all that it is made of.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{CmdType, List, Node, NodeTag, RTEKind, TargetEntry};

use super::hoist::depends_on_rows;
use crate::backend::cells;
use crate::error::{Error, Refusal};

/// The VALUES of an INSERT that takes its rows from there.
///
/// # Safety
/// `query` is a valid analysed statement.
pub unsafe fn values_of(query: *const pg_sys::Query) -> Option<(i32, *mut pg_sys::RangeTblEntry)> {
    // SAFETY: per the contract.
    unsafe { source_of(query).filter(|(_, entry)| (**entry).rtekind == RTEKind::RTE_VALUES) }
}

/// What an INSERT takes its rows from, if that is one thing.
unsafe fn source_of(query: *const pg_sys::Query) -> Option<(i32, *mut pg_sys::RangeTblEntry)> {
    // SAFETY: per the contract; casts follow the tags.
    unsafe {
        let from = (*query).jointree;
        if (*query).commandType != CmdType::CMD_INSERT || from.is_null() || !(*from).quals.is_null()
        {
            return None;
        }
        let mut items = cells::<Node>((*from).fromlist);
        let (Some(item), None) = (items.next(), items.next()) else { return None };
        if (*item).type_ != NodeTag::T_RangeTblRef {
            return None;
        }
        let index = (*item.cast::<pg_sys::RangeTblRef>()).rtindex;
        let entry: *mut pg_sys::RangeTblEntry = pg_sys::list_nth((*query).rtable, index - 1).cast();
        Some((index, entry))
    }
}

/// The statement, or a copy that has in VALUES or in its SELECT one column for each that
/// it fills, in their order.
///
/// # Safety
/// As [`values_of`]; nothing of `query` is changed.
pub unsafe fn complete(query: *mut pg_sys::Query) -> Result<*mut pg_sys::Query, Error> {
    // SAFETY: per the contract; what is changed is a copy; guarded.
    unsafe {
        match source_of(query) {
            Some((_, entry)) if (*entry).rtekind == RTEKind::RTE_VALUES => {}
            Some((index, entry))
                if (*entry).rtekind == RTEKind::RTE_SUBQUERY
                    && !passes_on_all(query, index, (*entry).subquery) =>
            {
                return Ok(around_select(query));
            }
            _ => return Ok(query),
        }
        let query: *mut pg_sys::Query = pg_sys::copyObjectImpl(query.cast()).cast();
        let Some((index, entry)) = values_of(query) else { return Ok(query) };
        let mut rows: *mut List = null_mut();
        for row in cells::<List>((*entry).values_lists) {
            let mut all: *mut List = null_mut();
            for target in cells::<TargetEntry>((*query).targetList) {
                all = pg_sys::lappend(all, cell(row, index, (*target).expr.cast())?.cast());
            }
            rows = pg_sys::lappend(rows, all.cast());
        }
        let (mut types, mut modifiers, mut collations) = (null_mut(), null_mut(), null_mut());
        let mut names: *mut List = null_mut();
        for (number, target) in (1..).zip(cells::<TargetEntry>((*query).targetList)) {
            let old: *mut Node = (*target).expr.cast();
            let (kind, modifier) = (pg_sys::exprType(old), pg_sys::exprTypmod(old));
            let collation = pg_sys::exprCollation(old);
            types = pg_sys::lappend_oid(types, kind);
            modifiers = pg_sys::lappend_int(modifiers, modifier);
            collations = pg_sys::lappend_oid(collations, collation);
            let name = crate::backend::string_node(format!("column{number}").as_bytes());
            names = pg_sys::lappend(names, name.cast());
            (*target).expr = pg_sys::makeVar(index, number, kind, modifier, collation, 0).cast();
        }
        (*entry).values_lists = rows;
        (*entry).coltypes = types;
        (*entry).coltypmods = modifiers;
        (*entry).colcollations = collations;
        (*(*entry).eref).colnames = names;
        Ok(query)
    }
}

/// Whether an INSERT fills its columns with those of its SELECT and nothing else.
unsafe fn passes_on_all(
    query: *const pg_sys::Query,
    index: i32,
    select: *const pg_sys::Query,
) -> bool {
    // SAFETY: a valid query; casts follow the tag.
    unsafe {
        let outputs = cells::<TargetEntry>((*select).targetList).filter(|e| !(**e).resjunk);
        let mut columns = 0;
        for target in cells::<TargetEntry>((*query).targetList) {
            columns += 1;
            let expression: *const Node = (*target).expr.cast();
            let variable = expression.cast::<pg_sys::Var>();
            if (*expression).type_ != NodeTag::T_Var
                || (*variable).varno != index
                || i32::from((*variable).varattno) != columns
            {
                return false;
            }
        }
        outputs.count() as i32 == columns
    }
}

/// `INSERT INTO t SELECT …` as `INSERT INTO t SELECT all that it fills FROM (SELECT …)`.
unsafe fn around_select(query: *mut pg_sys::Query) -> *mut pg_sys::Query {
    // SAFETY: a copy, and nodes made here; guarded.
    unsafe {
        let query: *mut pg_sys::Query = pg_sys::copyObjectImpl(query.cast()).cast();
        let Some((index, entry)) = source_of(query) else { return query };
        let inner: *mut pg_sys::RangeTblEntry = pg_sys::copyObjectImpl(entry.cast()).cast();
        pg_sys::IncrementVarSublevelsUp((*inner).subquery.cast(), 1, 1);
        // Else it would not be printed.
        (*inner).inFromCl = true;
        let select: *mut pg_sys::Query = node(NodeTag::T_Query);
        (*select).commandType = CmdType::CMD_SELECT;
        (*select).querySource = pg_sys::QuerySource::QSRC_ORIGINAL;
        (*select).rtable = pg_sys::lappend(null_mut(), inner.cast());
        let reference: *mut pg_sys::RangeTblRef = node(NodeTag::T_RangeTblRef);
        (*reference).rtindex = 1;
        let from = pg_sys::lappend(null_mut(), reference.cast());
        (*select).jointree = pg_sys::makeFromExpr(from, null_mut());
        let mut names: *mut List = null_mut();
        for (number, target) in (1..).zip(cells::<TargetEntry>((*query).targetList)) {
            let old: *mut Node = (*target).expr.cast();
            let value = pg_sys::copyObjectImpl(old.cast()).cast();
            pg_sys::ChangeVarNodes(value, index, 1, 0);
            let name = format!("column{number}");
            let name = crate::backend::string_node(name.as_bytes());
            names = pg_sys::lappend(names, name.cast());
            let named = (*name.cast::<pg_sys::String>()).sval;
            let output = pg_sys::makeTargetEntry(value.cast(), number, named, false);
            (*select).targetList = pg_sys::lappend((*select).targetList, output.cast());
            let (kind, modifier) = (pg_sys::exprType(old), pg_sys::exprTypmod(old));
            let collation = pg_sys::exprCollation(old);
            (*target).expr = pg_sys::makeVar(index, number, kind, modifier, collation, 0).cast();
        }
        (*entry).subquery = select;
        (*(*entry).eref).colnames = names;
        query
    }
}

/// A node with nothing in it.
///
/// # Safety
/// `tag` is that of `T`.
pub unsafe fn node<T>(tag: NodeTag) -> *mut T {
    // SAFETY: zeroed memory of the node's size; every node begins with its tag.
    unsafe {
        let node = pg_sys::palloc0(size_of::<T>());
        (*node.cast::<Node>()).type_ = tag;
        node.cast()
    }
}

/// What one column of one row is filled with.
unsafe fn cell(row: *mut List, index: i32, expression: *mut Node) -> Result<*mut Node, Error> {
    // SAFETY: the caller's valid copy; casts follow the tag; guarded.
    unsafe {
        if (*expression).type_ == NodeTag::T_Var {
            let variable = &*expression.cast::<pg_sys::Var>();
            if variable.varno == index && variable.varattno > 0 {
                return Ok(pg_sys::list_nth(row, i32::from(variable.varattno) - 1).cast());
            }
        }
        if depends_on_rows(expression) {
            return Err(Refusal::not_supported("it computes something from its rows").into());
        }
        Ok(pg_sys::copyObjectImpl(expression.cast()).cast())
    }
}
