//! Whether the router takes a statement, and if not, why.
#![allow(unsafe_code)]

use std::ffi::c_char;

use pgrx::pg_sys;
use pgrx::pg_sys::{CmdType, Node, NodeTag, RTEKind};

use super::column_pins::ColumnPins;
use super::hoist::Hoist;
use super::partition_key::{KeyColumn, hash_key};
use super::routed::{Key, Routed};
use crate::backend::cells;
use crate::cluster_map;
use crate::error::{Error, Refusal, SqlState};
use crate::placement::Placement;
use crate::shippable::is_shippable_grouped;
use crate::types::is_builtin;

/// Cursors may be read backwards, which a remote statement cannot.
const CURSOR: u32 = pg_sys::CURSOR_OPT_SCROLL | pg_sys::CURSOR_OPT_FAST_PLAN;

/// All nodes are alike for what may be sent.
const SOME_NODE: Placement = Placement::Node(cluster::NodeId(0));

/// What to do with a statement.
pub enum Decision {
    /// It names no sharded table at its top level.
    NotOurs,
    /// It does, and is planned otherwise.
    Refused(Refusal),
    /// It is the router's.
    Taken(Routed),
}

fn refuse<T>(message: &'static str) -> Result<T, Error> {
    Err(Refusal::not_supported(message).into())
}

/// Looks at an analysed and rewritten statement.
///
/// # Safety
/// `query` is valid, its relations are locked; nothing of it is changed.
pub unsafe fn decide(query: *mut pg_sys::Query, cursor_options: i32) -> Result<Decision, Error> {
    // SAFETY: per the contract.
    unsafe {
        let is_partitioned = |entry: &*mut pg_sys::RangeTblEntry| {
            (**entry).rtekind == RTEKind::RTE_RELATION
                && (**entry).relkind == pg_sys::RELKIND_PARTITIONED_TABLE as c_char
        };
        // Most statements of most databases end here.
        if !cells::<pg_sys::RangeTblEntry>((*query).rtable).any(|e| is_partitioned(&e)) {
            return Ok(Decision::NotOurs);
        }
        let Some(map) = cluster_map::map() else { return Ok(Decision::NotOurs) };
        let mut tables = Vec::new();
        let mut group = None;
        for (index, entry) in (1..).zip(cells::<pg_sys::RangeTblEntry>((*query).rtable)) {
            if is_partitioned(&entry)
                && let Some(its_group) = map.colocation_group((*entry).relid)?
            {
                if group.is_some_and(|group| group != its_group) {
                    let message = "its tables are in different colocation groups";
                    return Ok(Decision::Refused(Refusal::not_supported(message)));
                }
                group = Some(its_group);
                tables.push((index, (*entry).relid));
            }
        }
        if tables.is_empty() {
            return Ok(Decision::NotOurs);
        }
        match take(query, cursor_options, tables) {
            Ok(routed) => Ok(Decision::Taken(routed)),
            Err(Error::Refused(refusal)) if refusal.sqlstate == SqlState::FEATURE_NOT_SUPPORTED => {
                Ok(Decision::Refused(*refusal))
            }
            Err(error) => Err(error),
        }
    }
}

unsafe fn take(
    query: *mut pg_sys::Query,
    cursor_options: i32,
    tables: Vec<(u32, pg_sys::Oid)>,
) -> Result<Routed, Error> {
    // SAFETY: a valid query; guarded calls.
    unsafe {
        check_shape(query, cursor_options)?;
        check_range_table(query, &tables)?;
        let is_insert = (*query).commandType == CmdType::CMD_INSERT;
        let mut hoist = Hoist::default();
        let columns = hash_key(tables[0].1)?;
        for (_, relid) in &tables[1..] {
            if !same_hashing(&hash_key(*relid)?, &columns) {
                return refuse("its tables are not partitioned alike");
            }
        }
        let keys = if is_insert {
            let values = inserted_keys(query, &columns)?;
            for entry in cells::<pg_sys::TargetEntry>((*query).targetList) {
                if super::hoist::depends_on_rows((*entry).expr.cast()) {
                    return refuse("it inserts more than one row of values");
                }
                hoist.want((*entry).expr.cast());
            }
            values
        } else {
            let values = fixed_keys(query, &tables, &columns)?;
            values.iter().for_each(|(value, _)| hoist.want(value.unwrap_or_default()));
            values
        };
        check_writes(query, &tables, &columns)?;
        if (*query).commandType == CmdType::CMD_UPDATE {
            for entry in cells::<pg_sys::TargetEntry>((*query).targetList) {
                // A constant of whatever type goes as a parameter of the column's.
                if (*(*entry).expr).type_ == NodeTag::T_Const {
                    hoist.want((*entry).expr.cast());
                }
            }
        }
        let rewritten = hoist.rewrite(query);
        check_expressions(rewritten)?;
        let keys = keys
            .iter()
            .zip(&columns)
            .map(|((value, function), column)| Key {
                parameter: value.and_then(|value| hoist.index_of(value)),
                function: *function,
                collation: column.collation,
            })
            .collect();
        Ok(Routed { query: rewritten, values: hoist.values, tables, keys })
    }
}

/// What makes a statement more than one pass over its tables.
unsafe fn check_shape(query: *const pg_sys::Query, cursor_options: i32) -> Result<(), Error> {
    // SAFETY: a valid query.
    let q = unsafe { &*query };
    if !matches!(
        q.commandType,
        CmdType::CMD_SELECT | CmdType::CMD_INSERT | CmdType::CMD_UPDATE | CmdType::CMD_DELETE
    ) {
        return refuse("it is a command that is not routed");
    }
    if q.querySource != pg_sys::QuerySource::QSRC_ORIGINAL {
        return refuse("it comes from a rule");
    }
    if cursor_options as u32 & CURSOR != 0 {
        return refuse("it is a cursor's");
    }
    if q.hasRowSecurity || !q.withCheckOptions.is_null() {
        return refuse("row security applies to it");
    }
    if q.hasSubLinks || !q.cteList.is_null() || !q.setOperations.is_null() {
        return refuse("it contains a subquery");
    }
    if q.hasWindowFuncs || !q.windowClause.is_null() || !q.groupingSets.is_null() {
        return refuse("it contains window functions or grouping sets");
    }
    Ok(())
}

unsafe fn check_range_table(
    query: *const pg_sys::Query,
    tables: &[(u32, pg_sys::Oid)],
) -> Result<(), Error> {
    // SAFETY: a valid query, its relations locked; guarded calls.
    unsafe {
        let is_insert = (*query).commandType == CmdType::CMD_INSERT;
        let excluded = (*query).onConflict.as_ref().map_or(0, |c| c.exclRelIndex as u32);
        for (index, entry) in (1u32..).zip(cells::<pg_sys::RangeTblEntry>((*query).rtable)) {
            let e = &*entry;
            if !e.securityQuals.is_null() {
                return refuse("row security or a view applies to it");
            }
            if e.rtekind == RTEKind::RTE_JOIN || index == excluded {
                continue;
            }
            if !tables.iter().any(|(table, _)| *table == index) {
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
            let has_triggers = !(*relation).trigdesc.is_null();
            let descriptor = (*relation).rd_att;
            let natts = (*descriptor).natts as usize;
            let has_dropped = (*descriptor).attrs.as_slice(natts).iter().any(|a| a.attisdropped);
            pg_sys::table_close(relation, pg_sys::NoLock as i32);
            if has_dropped {
                return refuse("the table had columns that were dropped");
            }
            if has_triggers && (*query).commandType != CmdType::CMD_SELECT {
                return refuse("the table has triggers");
            }
        }
        Ok(())
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

fn same_hashing(a: &[KeyColumn], b: &[KeyColumn]) -> bool {
    let parts = |column: &KeyColumn| (column.family, column.input_type, column.collation);
    a.iter().map(parts).eq(b.iter().map(parts))
}

type KeyParts = (Option<*mut Node>, pg_sys::Oid);

/// What an INSERT puts into the key columns.
unsafe fn inserted_keys(
    query: *const pg_sys::Query,
    columns: &[KeyColumn],
) -> Result<Vec<KeyParts>, Error> {
    // SAFETY: a valid query of this kind.
    unsafe {
        let from = (*query).jointree;
        if !from.is_null() && (!(*from).fromlist.is_null() || !(*from).quals.is_null()) {
            return refuse("it inserts more than one row of values");
        }
        columns
            .iter()
            .map(|column| {
                let value = cells::<pg_sys::TargetEntry>((*query).targetList)
                    .find(|entry| (**entry).resno == column.attribute)
                    .map(|entry| (*entry).expr.cast::<Node>());
                match column.hash_function(column.input_type) {
                    Some(function) => Ok((value, function)),
                    None => refuse("a key column's type has no extended hash function"),
                }
            })
            .collect()
    }
}

/// What the conditions fix the key columns of all tables to.
unsafe fn fixed_keys(
    query: *const pg_sys::Query,
    tables: &[(u32, pg_sys::Oid)],
    columns: &[KeyColumn],
) -> Result<Vec<KeyParts>, Error> {
    // SAFETY: a valid query; guarded.
    unsafe {
        let pins = ColumnPins::of(query)?;
        let keys_of = |index: u32, columns: &[KeyColumn]| {
            columns.iter().map(|column| pins.value_of(index, column)).collect::<Option<Vec<_>>>()
        };
        let not_fixed = "a table is not fixed to one value of its distribution column";
        let Some(keys) = keys_of(tables[0].0, columns) else { return refuse(not_fixed) };
        for (index, relid) in &tables[1..] {
            let Some(others) = keys_of(*index, &hash_key(*relid)?) else {
                return refuse(not_fixed);
            };
            let same = keys.iter().zip(&others).all(|(a, b)| {
                a.function == b.function && pg_sys::equal(a.value.cast(), b.value.cast())
            });
            if !same {
                return refuse("its tables are fixed to different values");
            }
        }
        Ok(keys.into_iter().map(|key| (Some(key.value), key.function)).collect())
    }
}

/// Rows must not leave their partition, and conflicts must mean the same at the leaf.
unsafe fn check_writes(
    query: *const pg_sys::Query,
    tables: &[(u32, pg_sys::Oid)],
    columns: &[KeyColumn],
) -> Result<(), Error> {
    // SAFETY: a valid query; casts follow what the lists hold.
    unsafe {
        let target = (*query).resultRelation as u32;
        if target == 0 {
            return Ok(());
        }
        let Some((_, relid)) = tables.iter().find(|(index, _)| *index == target) else {
            return refuse("it writes to a table that is not sharded");
        };
        let columns = if tables[0].1 == *relid { columns.to_vec() } else { hash_key(*relid)? };
        let assigns_key = |list: *mut pg_sys::List| {
            cells::<pg_sys::TargetEntry>(list)
                .any(|entry| columns.iter().any(|column| column.attribute == (*entry).resno))
        };
        if (*query).commandType == CmdType::CMD_UPDATE && assigns_key((*query).targetList) {
            return refuse("it assigns to a distribution column");
        }
        if let Some(conflict) = (*query).onConflict.as_ref() {
            if conflict.constraint != pg_sys::InvalidOid {
                return refuse("it names a constraint, which each partition has its own of");
            }
            if assigns_key(conflict.onConflictSet) {
                return refuse("it assigns to a distribution column");
            }
            for element in cells::<pg_sys::InferenceElem>(conflict.arbiterElems) {
                let e = &*element;
                if e.infercollid != pg_sys::InvalidOid
                    || e.inferopclass != pg_sys::InvalidOid
                    || (*e.expr).type_ != NodeTag::T_Var
                {
                    return refuse("its conflict target is more than columns");
                }
            }
        }
        Ok(())
    }
}

/// Everything that is left to be computed at the leaf must mean the same there.
unsafe fn check_expressions(query: *const pg_sys::Query) -> Result<(), Error> {
    // SAFETY: a valid query, rewritten; guarded.
    unsafe {
        let q = &*query;
        let entries = cells::<pg_sys::RangeTblEntry>(q.rtable).count() as i32;
        let relids = pg_sys::bms_add_range(std::ptr::null_mut(), 1, entries);
        let ships = |node: *mut Node| {
            if node.is_null() {
                return Ok(());
            }
            is_shippable_grouped(node, relids, SOME_NODE)
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
        let clauses = cells::<pg_sys::SortGroupClause>(q.sortClause)
            .chain(cells(q.groupClause))
            .chain(cells(q.distinctClause));
        for clause in clauses {
            let known = |operator| operator == pg_sys::InvalidOid || is_builtin(operator);
            if !known((*clause).sortop) || !known((*clause).eqop) {
                return refuse("it sorts or groups by an operator that is not built in");
            }
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
unsafe fn conditions(node: *mut Node) -> Vec<*mut Node> {
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
