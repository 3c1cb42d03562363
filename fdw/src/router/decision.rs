//! Whether the router takes a statement, and if not, why.
#![allow(unsafe_code)]

use std::ffi::c_char;

use pgrx::pg_sys;
use pgrx::pg_sys::{CmdType, NodeTag, RTEKind};

use super::column_pins::{ColumnPins, same_for_all_rows};
use super::expressions::check_expressions;
use super::hoist::Hoist;
use super::keys::{fixed_keys, same_hashing, want_rows, want_values};
use super::levels::{Level, Levels};
use super::merge::{actions, by_partition, check_values};
use super::partition_key::hash_key;
use super::routed::{Key, Repetition, Routed, RowCheck, Table};
use super::rows;
use super::security::Secured;
use super::shape::{check_level, check_range_table, check_shape};
use super::writes::check_writes;
use crate::backend::cells;
use crate::cluster_map;
use crate::error::{Error, Refusal, SqlState};

/// What to do with a statement.
pub enum Decision {
    /// It names no sharded table.
    NotOurs,
    /// It does, and is planned otherwise. The flag: some table of it is fixed to a
    /// value of its distribution column, so that whoever wrote it may wonder.
    Refused(Refusal, bool),
    /// It is the router's.
    Taken(Routed),
}

/// An answer of one of the checks: the router leaves the statement alone.
pub fn refuse<T>(message: &'static str) -> Result<T, Error> {
    Err(Refusal::not_supported(message).into())
}

/// Looks at an analysed and rewritten statement.
///
/// # Safety
/// `query` is valid, its relations are locked; nothing of it is changed.
pub unsafe fn decide(query: *mut pg_sys::Query) -> Result<Decision, Error> {
    // SAFETY: per the contract.
    unsafe {
        let levels = Levels::of(query);
        // Most statements of most databases end here.
        let is_concerned = |level: &Level| {
            cells::<pg_sys::RangeTblEntry>((*level.query).rtable).any(|e| is_partitioned(e))
        };
        if !levels.iter().any(|(_, level)| is_concerned(level)) {
            return Ok(Decision::NotOurs);
        }
        let Some(map) = cluster_map::map() else { return Ok(Decision::NotOurs) };
        let mut tables = Vec::new();
        let (mut group, mut differ) = (None, false);
        for (at, level) in levels.iter() {
            for (index, entry) in (1..).zip(cells::<pg_sys::RangeTblEntry>((*level.query).rtable)) {
                if is_partitioned(entry)
                    && let Some(its_group) = map.colocation_group((*entry).relid)?
                {
                    differ |= group.is_some_and(|group| group != its_group);
                    group = Some(its_group);
                    tables.push(Table { place: (at, index), relid: (*entry).relid });
                }
            }
        }
        if tables.is_empty() {
            return Ok(Decision::NotOurs);
        }
        let taken = match differ {
            true => refuse("its tables are in different colocation groups"),
            false => take(query, levels, &tables),
        };
        match taken {
            Ok(routed) => Ok(Decision::Taken(routed)),
            Err(Error::Refused(refusal)) if refusal.sqlstate == SqlState::FEATURE_NOT_SUPPORTED => {
                let is_point = some_table_is_fixed(query, &tables);
                Ok(Decision::Refused(*refusal, is_point))
            }
            Err(error) => Err(error),
        }
    }
}

unsafe fn is_partitioned(entry: *const pg_sys::RangeTblEntry) -> bool {
    // SAFETY: a valid entry.
    unsafe {
        (*entry).rtekind == RTEKind::RTE_RELATION
            && (*entry).relkind == pg_sys::RELKIND_PARTITIONED_TABLE as c_char
    }
}

/// Whether it could be taken for a point statement.
unsafe fn some_table_is_fixed(query: *mut pg_sys::Query, tables: &[Table]) -> bool {
    // SAFETY: the caller's valid query.
    unsafe {
        let levels = Levels::of(query);
        let is_row =
            (*query).commandType == CmdType::CMD_INSERT && (*(*query).jointree).fromlist.is_null();
        let Ok(pins) = ColumnPins::of(&levels) else { return is_row };
        is_row
            || tables.iter().any(|table| {
                hash_key(table.relid).is_ok_and(|columns| {
                    columns.iter().all(|column| pins.value_of(table.place, column).is_some())
                })
            })
    }
}

unsafe fn take(
    query: *mut pg_sys::Query,
    levels: Levels,
    tables: &[Table],
) -> Result<Routed, Error> {
    // SAFETY: a valid query; guarded calls.
    unsafe {
        check_shape(query)?;
        for (at, level) in levels.iter() {
            check_level(level)?;
            check_range_table(&levels, at, tables)?;
        }
        let complete = rows::complete(query)?;
        let levels = if complete == query { levels } else { Levels::of(complete) };
        let secured = Secured::of(complete, levels)?;
        let (query, levels) = (secured.query, secured.levels);
        let mut hoist = Hoist::default();
        let columns = hash_key(tables[0].relid)?;
        for table in &tables[1..] {
            if !same_hashing(&hash_key(table.relid)?, &columns) {
                return refuse("its tables are not partitioned alike");
            }
        }
        let pins = ColumnPins::of(&levels)?;
        let (keys, merge) = match fixed_keys(query, &pins, tables, &columns) {
            Err(Error::Refused(_)) if (*query).commandType == CmdType::CMD_MERGE => {
                (Vec::new(), Some(by_partition(query, &levels, &pins, tables, &columns)?))
            }
            keys => (keys?, None),
        };
        let query = merge.as_ref().map_or(query, |merge| merge.query);
        let levels_now;
        let levels = match &merge {
            Some(_) => {
                levels_now = Levels::of(query);
                &levels_now
            }
            None => &levels,
        };
        let partition = merge.as_ref().and_then(|merge| merge.partition);
        partition.into_iter().for_each(|partition| hoist.want(partition));
        keys.iter().for_each(|key| hoist.want(key.value.unwrap_or_default()));
        // One text for all values, wherever they are mentioned.
        for table in tables {
            let columns = hash_key(table.relid)?;
            let values = columns.iter().flat_map(|c| pins.values_on(table.place, c.attribute));
            values.for_each(|value| hoist.want(value));
        }
        if (*query).commandType == CmdType::CMD_INSERT {
            want_values(query, levels, &mut hoist)?;
        }
        if (*query).commandType == CmdType::CMD_MERGE {
            check_values(levels)?;
            want_rows(levels, &mut hoist)?;
            for action in actions(query) {
                want_constants((*action).targetList, &mut hoist);
            }
        }
        check_writes(query, tables, &columns)?;
        if (*query).commandType == CmdType::CMD_UPDATE {
            want_constants((*query).targetList, &mut hoist);
        }
        let rewritten = hoist.rewrite(query);
        for (_, level) in Levels::of(rewritten).iter() {
            check_expressions(level)?;
        }
        let keys = keys
            .iter()
            .zip(&columns)
            .map(|(key, column)| Key {
                parameter: key.value.map(|value| hoist.index_or_add(value)),
                function: key.function,
                collation: column.collation,
            })
            .collect();
        let checks = secured
            .checks
            .into_iter()
            .map(|check| RowCheck {
                parameter: hoist.add(check.condition),
                violation: check.violation,
            })
            .collect();
        let repetition = match merge {
            None => Repetition::Once,
            Some(_) => Repetition::EachPartition(partition.map(|p| hoist.index_or_add(p))),
        };
        let tables = tables.to_vec();
        Ok(Routed { query: rewritten, values: hoist.values, tables, keys, checks, repetition })
    }
}

/// A constant of whatever type, or domain, goes as a parameter of its column's.
unsafe fn want_constants(targets: *mut pg_sys::List, hoist: &mut Hoist) {
    // SAFETY: a list of assignments.
    unsafe {
        for entry in cells::<pg_sys::TargetEntry>(targets) {
            let expression: *mut pg_sys::Node = (*entry).expr.cast();
            let is_of_domain =
                (*expression).type_ == NodeTag::T_CoerceToDomain && same_for_all_rows(expression);
            if (*expression).type_ == NodeTag::T_Const || is_of_domain {
                hoist.want(expression);
            }
        }
    }
}
