//! The one value of the distribution columns that a statement is about.
#![allow(unsafe_code)]

use std::ffi::c_void;

use pgrx::pg_sys;
use pgrx::pg_sys::{CmdType, Node, NodeTag, RTEKind};

use super::column_pins::{ColumnPins, KeyValue, same_for_all_rows};
use super::decision::refuse;
use super::hoist::{Hoist, depends_on_rows};
use super::levels::Levels;
use super::merge::actions;
use super::partition_key::{KeyColumn, hash_key};
use super::routed::Table;
use super::rows;
use crate::backend::cells;
use crate::error::Error;

/// Values in VALUES; beyond it rows travel better by COPY.
const MOST_VALUES: usize = 1000;

/// Whether rows with equal values lie in partitions of the same number.
pub fn same_hashing(a: &[KeyColumn], b: &[KeyColumn]) -> bool {
    let parts = |column: &KeyColumn| (column.family, column.input_type, column.collation);
    a.iter().map(parts).eq(b.iter().map(parts))
}

/// The value of a key column, `None` for NULL, and what hashes it.
#[derive(Clone, Copy)]
pub struct KeyPart {
    /// In the query's own tree.
    pub value: Option<*mut Node>,
    /// As for pruning.
    pub function: pg_sys::Oid,
}

impl KeyPart {
    fn is_same(&self, other: &KeyPart) -> bool {
        let node = |part: &KeyPart| part.value.unwrap_or_default().cast::<c_void>();
        // SAFETY: null or valid expressions; guarded.
        self.function == other.function && unsafe { pg_sys::equal(node(self), node(other)) }
    }
}

/// What the distribution columns of all tables are fixed to.
///
/// # Safety
/// `query` is valid, `pins` and `tables` are its own.
pub unsafe fn fixed_keys(
    query: *const pg_sys::Query,
    pins: &ColumnPins<'_>,
    tables: &[Table],
    columns: &[KeyColumn],
) -> Result<Vec<KeyPart>, Error> {
    // SAFETY: a valid query; guarded.
    unsafe {
        let mut common: Option<Vec<KeyPart>> = None;
        for table in tables {
            let columns =
                if table.relid == tables[0].relid { columns } else { &hash_key(table.relid)? };
            let is_inserted_to = (*query).commandType == CmdType::CMD_INSERT
                && table.place == (0, (*query).resultRelation as u32);
            let keys = if is_inserted_to {
                inserted_keys(query, pins, columns)?
            } else {
                let value = |column| {
                    let KeyValue { value, function } = pins.value_of(table.place, column)?;
                    Some(KeyPart { value: Some(value), function })
                };
                match columns.iter().map(value).collect() {
                    Some(keys) => keys,
                    None => {
                        return refuse(
                            "a table is not fixed to one value of its distribution column",
                        );
                    }
                }
            };
            if (*query).commandType == CmdType::CMD_MERGE
                && table.place == (0, (*query).resultRelation as u32)
            {
                check_merged_keys(query, pins, columns, &keys)?;
            }
            match &common {
                None => common = Some(keys),
                Some(first) if first.iter().zip(&keys).all(|(a, b)| a.is_same(b)) => {}
                Some(_) => return refuse("its tables are fixed to different values"),
            }
        }
        Ok(common.unwrap_or_default())
    }
}

/// Rows that a MERGE inserts are for the same values as those that it changes.
unsafe fn check_merged_keys(
    query: *const pg_sys::Query,
    pins: &ColumnPins<'_>,
    columns: &[KeyColumn],
    keys: &[KeyPart],
) -> Result<(), Error> {
    // SAFETY: a valid MERGE.
    unsafe {
        for action in actions(query).filter(|a| (**a).commandType == CmdType::CMD_INSERT) {
            for (column, key) in columns.iter().zip(keys) {
                let new = cells::<pg_sys::TargetEntry>((*action).targetList)
                    .find(|entry| (**entry).resno == column.attribute)
                    .and_then(|entry| pins.value_of_expression(0, (*entry).expr.cast(), column))
                    .map(|found| KeyPart { value: Some(found.value), function: found.function });
                if new.is_none_or(|new| !new.is_same(key)) {
                    return refuse("it inserts rows of another value of a distribution column");
                }
            }
        }
        Ok(())
    }
}

/// What an INSERT puts into the key columns.
unsafe fn inserted_keys(
    query: *const pg_sys::Query,
    pins: &ColumnPins<'_>,
    columns: &[KeyColumn],
) -> Result<Vec<KeyPart>, Error> {
    // SAFETY: a valid query of this kind.
    unsafe {
        let from = (*query).jointree;
        let is_one_row = from.is_null() || (*from).fromlist.is_null();
        let mut keys = Vec::new();
        for column in columns {
            let Some(function) = column.hash_function(column.input_type) else {
                return refuse("a key column's type has no extended hash function");
            };
            let value = cells::<pg_sys::TargetEntry>((*query).targetList)
                .find(|entry| (**entry).resno == column.attribute)
                .map(|entry| (*entry).expr.cast::<Node>());
            let fixed = match value {
                // Evaluated once, whatever it is.
                Some(value) if is_one_row && !depends_on_rows(value) => Some(value),
                Some(_) if is_one_row => {
                    return refuse("it computes the value of a distribution column from rows");
                }
                None => None,
                Some(value) => match values_of_rows(query, value) {
                    Some(rows) => match rows.split_first() {
                        Some((first, others))
                            if same_for_all_rows(*first)
                                && others
                                    .iter()
                                    .all(|o| pg_sys::equal((*o).cast(), (*first).cast())) =>
                        {
                            Some(*first)
                        }
                        _ => {
                            return refuse(
                                "its rows are for different values of a distribution column",
                            );
                        }
                    },
                    None => match pins.value_of_expression(0, value, column) {
                        Some(found) => Some(found.value),
                        None => {
                            return refuse(
                                "it inserts rows of more than one value of a distribution column",
                            );
                        }
                    },
                },
            };
            keys.push(KeyPart { value: fixed, function });
        }
        Ok(keys)
    }
}

/// What a column of VALUES holds in each row, if `node` is such a column.
unsafe fn values_of_rows(query: *const pg_sys::Query, node: *mut Node) -> Option<Vec<*mut Node>> {
    // SAFETY: a valid query, completed; casts follow the tags.
    unsafe {
        let (_, entry) = rows::values_of(query)?;
        if (*node).type_ != NodeTag::T_Var {
            return None;
        }
        let at = i32::from((*node.cast::<pg_sys::Var>()).varattno) - 1;
        let rows = cells::<pg_sys::List>((*entry).values_lists);
        Some(rows.map(|row| pg_sys::list_nth(row, at).cast()).collect())
    }
}

/// The values of an INSERT are computed here, once.
///
/// # Safety
/// `query` is valid, `levels` are its own.
pub unsafe fn want_values(
    query: *const pg_sys::Query,
    levels: &Levels,
    hoist: &mut Hoist,
) -> Result<(), Error> {
    // SAFETY: a valid query; lists hold what analysis has put there.
    unsafe {
        let from = (*query).jointree;
        let is_one_row = from.is_null() || (*from).fromlist.is_null();
        for entry in cells::<pg_sys::TargetEntry>((*query).targetList) {
            let expression: *mut Node = (*entry).expr.cast();
            if !depends_on_rows(expression) {
                if !is_one_row && pg_sys::contain_volatile_functions(expression) {
                    return refuse("it computes a new default value for each of its rows");
                }
                hoist.want(expression);
            } else if is_one_row && (*query).hasTargetSRFs {
                return refuse("it inserts rows that a function returns");
            }
        }
        want_rows(levels, hoist)
    }
}

/// The VALUES of a statement that writes are computed here, once.
///
/// # Safety
/// `levels` are a valid statement's.
pub unsafe fn want_rows(levels: &Levels, hoist: &mut Hoist) -> Result<(), Error> {
    // SAFETY: per the contract; lists hold what analysis has put there.
    unsafe {
        let mut count = 0;
        for (_, level) in levels.iter() {
            for entry in cells::<pg_sys::RangeTblEntry>((*level.query).rtable) {
                if (*entry).rtekind != RTEKind::RTE_VALUES {
                    continue;
                }
                for row in cells::<pg_sys::List>((*entry).values_lists) {
                    for value in cells::<Node>(row).filter(|value| !depends_on_rows(*value)) {
                        count += 1;
                        hoist.want(value);
                    }
                }
            }
        }
        if count > MOST_VALUES {
            return refuse("it contains more values than are sent as parameters");
        }
        Ok(())
    }
}
