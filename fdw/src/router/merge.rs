//! MERGE of rows for more than one partition.
//!
//! PostgreSQL merges into local tables only. Where each row of the source can meet,
//! and become, rows of one partition only, the statement is the sum of itself over
//! the partitions: it is run for each of them, on its node. The condition must equate
//! the distribution columns with columns of the source, and what is inserted must
//! have those values. The source is cut either by being a colocated table itself, or
//! by a condition that lets through, for each partition, the rows that hash there.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{CmdType, Node, NodeTag, Query, RTEKind, RangeTblEntry, TargetEntry, Var};

use super::column_pins::{ColumnPins, equates};
use super::decision::refuse;
use super::levels::Levels;
use super::partition_key::{KeyColumn, hash_key};
use super::plan::partitions;
use super::routed::Table;
use super::rows::node;
use super::security::is_always_there;
use crate::backend::{cells, oids, string_node};
use crate::error::Error;
use crate::types::is_builtin;

/// A MERGE that is to be run for every partition.
pub struct ByPartition {
    /// The statement, or a copy whose source is cut.
    pub query: *mut Query,
    /// What stands in it for the number of the partition, if it is cut by it.
    pub partition: Option<*mut Node>,
}

/// What a MERGE does, in order.
///
/// # Safety
/// `query` is valid.
pub unsafe fn actions(query: *const Query) -> impl Iterator<Item = *mut pg_sys::MergeAction> {
    // SAFETY: per the contract; null for other commands.
    unsafe { cells::<pg_sys::MergeAction>((*query).mergeActionList) }
}

/// A list of values is sent as parameters, which have no type over there but what
/// they are used for: in a MERGE, nothing.
///
/// # Safety
/// `levels` are a valid statement's.
pub unsafe fn check_values(levels: &Levels) -> Result<(), Error> {
    for (_, level) in levels.iter() {
        // SAFETY: per the contract; each entry's list holds types.
        unsafe {
            for entry in cells::<RangeTblEntry>((*level.query).rtable) {
                if !(*entry).values_lists.is_null()
                    && !oids((*entry).coltypes).into_iter().all(is_builtin)
                {
                    return refuse("its list of values has a type that is not built in");
                }
            }
        }
    }
    Ok(())
}

/// The statement, to be run for each partition of its target.
///
/// # Safety
/// `query` is a valid MERGE into one of `tables`, whose key is `columns`; `levels` and
/// `pins` are its own. Nothing of it is changed.
pub unsafe fn by_partition(
    query: *mut Query,
    levels: &Levels,
    pins: &ColumnPins<'_>,
    tables: &[Table],
    columns: &[KeyColumn],
) -> Result<ByPartition, Error> {
    // SAFETY: per the contract.
    unsafe {
        let target = (*query).resultRelation as u32;
        let source = source_of(query)?;
        let mut keys = Vec::new();
        for column in columns {
            keys.push(matched_with(query, source, column)?);
        }
        for action in actions(query).filter(|a| (**a).commandType == CmdType::CMD_INSERT) {
            for (column, key) in columns.iter().zip(&keys) {
                let inserts = cells::<TargetEntry>((*action).targetList)
                    .find(|entry| (**entry).resno == column.attribute)
                    .and_then(|entry| {
                        column_of(pg_sys::strip_implicit_coercions((*entry).expr.cast()))
                    });
                if inserts.is_none_or(|new| !is_same_column(new, *key)) {
                    return refuse(
                        "it inserts another value of a distribution column than the one it compares with",
                    );
                }
            }
        }
        let mut others = tables.iter().filter(|table| table.place != (0, target));
        match (others.next(), others.next()) {
            (None, _) => cut(query, source, columns, &keys),
            (Some(other), None) => {
                for (column, key) in hash_key(other.relid)?.iter().zip(&keys) {
                    let inner = (other.place.0, other.place.1, column.attribute);
                    let outer = (0, source, (**key).varattno);
                    if !pins.is_passed_on(inner, outer, |at, index| {
                        at == 0 || is_always_there((*levels.level(at).query).jointree.cast(), index)
                    }) {
                        return refuse(
                            "it does not compare the distribution columns of its source and its target",
                        );
                    }
                }
                Ok(ByPartition { query, partition: None })
            }
            _ => refuse("its source reads more than one sharded table"),
        }
    }
}

/// The range table index of the source.
unsafe fn source_of(query: *const Query) -> Result<u32, Error> {
    // SAFETY: a valid MERGE; the cast follows the tag.
    unsafe {
        let mut items = cells::<Node>((*(*query).jointree).fromlist);
        match (items.next(), items.next()) {
            (Some(item), None) if (*item).type_ == NodeTag::T_RangeTblRef => {
                Ok((*item.cast::<pg_sys::RangeTblRef>()).rtindex as u32)
            }
            _ => refuse("its source is a join, which is not in a subquery"),
        }
    }
}

/// The column of the source that the condition equates with a key column.
unsafe fn matched_with(
    query: *const Query,
    source: u32,
    column: &KeyColumn,
) -> Result<*const Var, Error> {
    // SAFETY: a valid MERGE; casts follow the tags; guarded.
    unsafe {
        let is_key = |node: *mut Node| {
            column_of(node).is_some_and(|v| {
                (*v).varno == (*query).resultRelation && (*v).varattno == column.attribute
            })
        };
        for condition in conjuncts((*(*query).jointree).quals) {
            if (*condition).type_ != NodeTag::T_OpExpr {
                continue;
            }
            let comparison = &*condition.cast::<pg_sys::OpExpr>();
            let mut sides = cells::<Node>(comparison.args);
            let (Some(left), Some(right)) = (sides.next(), sides.next()) else { continue };
            let other = match (is_key(left), is_key(right)) {
                (true, false) => column_of(right),
                (false, true) => column_of(left),
                _ => None,
            };
            if let Some(other) =
                other.filter(|v| (**v).varno as u32 == source && (**v).varattno > 0)
                && equates(comparison.opno, comparison.inputcollid, column).is_some()
            {
                return Ok(other);
            }
        }
        refuse("its condition does not equate a distribution column with a column of the source")
    }
}

unsafe fn conjuncts(node: *mut Node) -> Vec<*mut Node> {
    // SAFETY: a condition; casts follow the tags.
    unsafe {
        if node.is_null() {
            return Vec::new();
        }
        let is_and = (*node).type_ == NodeTag::T_BoolExpr
            && (*node.cast::<pg_sys::BoolExpr>()).boolop == pg_sys::BoolExprType::AND_EXPR;
        let list = match (*node).type_ {
            NodeTag::T_List => node.cast(),
            _ if is_and => (*node.cast::<pg_sys::BoolExpr>()).args,
            _ => return vec![node],
        };
        cells::<Node>(list).flat_map(|part| conjuncts(part)).collect()
    }
}

/// A column of the statement's own tables, under relabelling.
unsafe fn column_of(node: *mut Node) -> Option<*const Var> {
    // SAFETY: null or a valid expression; casts follow the tags.
    unsafe {
        let mut node = node;
        while !node.is_null() && (*node).type_ == NodeTag::T_RelabelType {
            node = (*node.cast::<pg_sys::RelabelType>()).arg.cast();
        }
        let is_column = !node.is_null()
            && (*node).type_ == NodeTag::T_Var
            && (*node.cast::<Var>()).varlevelsup == 0;
        is_column.then_some(node.cast_const().cast())
    }
}

unsafe fn is_same_column(a: *const Var, b: *const Var) -> bool {
    // SAFETY: valid Vars.
    unsafe { (*a).varno == (*b).varno && (*a).varattno == (*b).varattno }
}

/// A copy whose source is `(SELECT * FROM source WHERE its key hashes to a partition)`.
unsafe fn cut(
    query: *const Query,
    source: u32,
    columns: &[KeyColumn],
    keys: &[*const Var],
) -> Result<ByPartition, Error> {
    // SAFETY: a copy of a valid MERGE, and nodes made here; guarded.
    unsafe {
        let query: *mut Query = pg_sys::copyObjectImpl(query.cast()).cast();
        let at = |index: u32| -> *mut RangeTblEntry {
            pg_sys::list_nth((*query).rtable, index as i32 - 1).cast()
        };
        let relid = (*at((*query).resultRelation as u32)).relid;
        let entry = at(source);
        let inner: *mut RangeTblEntry = pg_sys::copyObjectImpl(entry.cast()).cast();
        match (*inner).rtekind {
            RTEKind::RTE_SUBQUERY => {
                pg_sys::IncrementVarSublevelsUp((*inner).subquery.cast(), 1, 1);
            }
            RTEKind::RTE_CTE => (*inner).ctelevelsup += 1,
            _ => {}
        }
        // Else it would not be printed.
        (*inner).inFromCl = true;
        let select: *mut Query = node(NodeTag::T_Query);
        (*select).commandType = CmdType::CMD_SELECT;
        (*select).querySource = pg_sys::QuerySource::QSRC_ORIGINAL;
        (*select).rtable = pg_sys::lappend(null_mut(), inner.cast());
        let reference: *mut pg_sys::RangeTblRef = node(NodeTag::T_RangeTblRef);
        (*reference).rtindex = 1;
        let from = pg_sys::lappend(null_mut(), reference.cast());
        let mut arguments: *mut pg_sys::List = null_mut();
        let mut add = |node: *mut Node| arguments = pg_sys::lappend(arguments, node.cast());
        add(constant(pg_sys::REGCLASSOID, pg_sys::Datum::from(relid)));
        add(constant(pg_sys::INT4OID, pg_sys::Datum::from(partitions(relid)? as i32)));
        let partition = constant(pg_sys::INT4OID, pg_sys::Datum::from(0));
        add(partition);
        for (column, key) in columns.iter().zip(keys) {
            let v = &**key;
            let value = pg_sys::makeVar(1, v.varattno, v.vartype, v.vartypmod, v.varcollid, 0);
            let value = pg_sys::coerce_to_target_type(
                null_mut(),
                value.cast(),
                v.vartype,
                pg_sys::get_atttype(relid, column.attribute),
                -1,
                pg_sys::CoercionContext::COERCION_IMPLICIT,
                pg_sys::CoercionForm::COERCE_IMPLICIT_CAST,
                -1,
            );
            if value.is_null() {
                return refuse("it compares a distribution column with a column of another type");
            }
            add(value);
        }
        let hashes_there = pg_sys::makeFuncExpr(
            pg_sys::Oid::from(pg_sys::F_SATISFIES_HASH_PARTITION),
            pg_sys::BOOLOID,
            arguments,
            pg_sys::InvalidOid,
            columns[0].collation,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        );
        (*select).jointree = pg_sys::makeFromExpr(from, hashes_there.cast());
        let (mut names, mut values) = (null_mut(), null_mut());
        pg_sys::expandRTE(inner, 1, 0, -1, true, &raw mut names, &raw mut values);
        let names = cells::<pg_sys::String>(names);
        for ((number, name), value) in (1..).zip(names).zip(cells::<Node>(values)) {
            let given = CStr::from_ptr((*name).sval);
            // A column that was dropped has no name.
            let name = match given.is_empty() {
                true => string_node(format!("column{number}").as_bytes()).cast(),
                false => name,
            };
            let output = pg_sys::makeTargetEntry(value.cast(), number, (*name).sval, false);
            (*select).targetList = pg_sys::lappend((*select).targetList, output.cast());
        }
        let outer: *mut RangeTblEntry = node(NodeTag::T_RangeTblEntry);
        (*outer).rtekind = RTEKind::RTE_SUBQUERY;
        (*outer).subquery = select;
        (*outer).alias = (*entry).alias;
        (*outer).eref = (*entry).eref;
        (*outer).inFromCl = true;
        let cell = (*(*query).rtable).elements.add(source as usize - 1);
        (*cell).ptr_value = outer.cast();
        Ok(ByPartition { query, partition: Some(partition) })
    }
}

unsafe fn constant(kind: pg_sys::Oid, value: pg_sys::Datum) -> *mut Node {
    // SAFETY: guarded; a value of four bytes.
    unsafe { pg_sys::makeConst(kind, -1, pg_sys::InvalidOid, 4, value, false, true).cast() }
}
