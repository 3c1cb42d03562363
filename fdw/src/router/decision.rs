//! Whether the router takes a statement, and if not, why.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_void};

use pgrx::pg_sys;
use pgrx::pg_sys::{CmdType, Node, NodeTag, RTEKind};

use super::column_pins::{ColumnPins, KeyValue, same_for_all_rows};
use super::columns::takes_whole_rows;
use super::hoist::{Hoist, depends_on_rows};
use super::levels::{Level, Levels};
use super::partition_key::{KeyColumn, hash_key};
use super::routed::{Key, Routed, RowCheck, Table};
use super::rows;
use super::security::Secured;
use crate::backend::cells;
use crate::cluster_map;
use crate::error::{Error, Refusal, SqlState};
use crate::placement::Placement;
use crate::shippable::is_shippable_query;
use crate::types::is_builtin;

/// Cursors may be read backwards, which a remote statement cannot.
const CURSOR: u32 = pg_sys::CURSOR_OPT_SCROLL | pg_sys::CURSOR_OPT_FAST_PLAN;

/// Values in VALUES; beyond it rows travel better by COPY.
const MOST_VALUES: usize = 1000;

/// All nodes are alike for what may be sent.
const SOME_NODE: Placement = Placement::Node(cluster::NodeId(0));

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
            false => take(query, levels, cursor_options, &tables),
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
    cursor_options: i32,
    tables: &[Table],
) -> Result<Routed, Error> {
    // SAFETY: a valid query; guarded calls.
    unsafe {
        check_shape(query, cursor_options)?;
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
        let keys = fixed_keys(query, &pins, tables, &columns)?;
        keys.iter().for_each(|key| hoist.want(key.value.unwrap_or_default()));
        // One text for all values, wherever they are mentioned.
        for table in tables {
            let columns = hash_key(table.relid)?;
            let values = columns.iter().flat_map(|c| pins.values_on(table.place, c.attribute));
            values.for_each(|value| hoist.want(value));
        }
        if (*query).commandType == CmdType::CMD_INSERT {
            want_values(query, &levels, &mut hoist)?;
        }
        check_writes(query, tables, &columns)?;
        if (*query).commandType == CmdType::CMD_UPDATE {
            for entry in cells::<pg_sys::TargetEntry>((*query).targetList) {
                // A constant of whatever type goes as a parameter of the column's.
                if (*(*entry).expr).type_ == NodeTag::T_Const {
                    hoist.want((*entry).expr.cast());
                }
            }
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
        let tables = tables.to_vec();
        Ok(Routed { query: rewritten, values: hoist.values, tables, keys, checks })
    }
}

/// What makes a statement something else than one statement on another node.
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
    if q.hasModifyingCTE {
        return refuse("it contains a WITH query that writes");
    }
    Ok(())
}

/// What is not sent at any level.
unsafe fn check_level(level: &Level) -> Result<(), Error> {
    // SAFETY: a valid query.
    unsafe {
        let q = &*level.query;
        if q.hasWindowFuncs || !q.windowClause.is_null() || !q.groupingSets.is_null() {
            return refuse("it contains window functions or grouping sets");
        }
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

unsafe fn check_range_table(levels: &Levels, at: usize, tables: &[Table]) -> Result<(), Error> {
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
            let fires_here = is_target
                && fires_for_statements((*relation).trigdesc, command, (*query).onConflict);
            let descriptor = (*relation).rd_att;
            let natts = (*descriptor).natts as usize;
            let has_dropped = (*descriptor).attrs.as_slice(natts).iter().any(|a| a.attisdropped);
            pg_sys::table_close(relation, pg_sys::NoLock as i32);
            if has_dropped && takes_whole_rows(levels.level(0).query) {
                return refuse("it takes rows as a whole of a table that had columns dropped");
            }
            if fires_here {
                return refuse("the table has triggers for statements");
            }
        }
        Ok(())
    }
}

/// Whether a table has triggers that no partition has: those FOR EACH STATEMENT, and
/// those that see all changed rows together. Row triggers are the leaf's.
unsafe fn fires_for_statements(
    triggers: *const pg_sys::TriggerDesc,
    command: CmdType::Type,
    conflict: *const pg_sys::OnConflictExpr,
) -> bool {
    // SAFETY: null or the relation's own, while it is open.
    let Some(t) = (unsafe { triggers.as_ref() }) else { return false };
    let inserts =
        t.trig_insert_before_statement || t.trig_insert_after_statement || t.trig_insert_new_table;
    let updates = t.trig_update_before_statement
        || t.trig_update_after_statement
        || t.trig_update_old_table
        || t.trig_update_new_table;
    let deletes =
        t.trig_delete_before_statement || t.trig_delete_after_statement || t.trig_delete_old_table;
    match command {
        CmdType::CMD_INSERT => inserts || (!conflict.is_null() && updates),
        CmdType::CMD_UPDATE => updates,
        CmdType::CMD_DELETE => deletes,
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

fn same_hashing(a: &[KeyColumn], b: &[KeyColumn]) -> bool {
    let parts = |column: &KeyColumn| (column.family, column.input_type, column.collation);
    a.iter().map(parts).eq(b.iter().map(parts))
}

/// The value of a key column, `None` for NULL, and what hashes it.
#[derive(Clone, Copy)]
struct KeyPart {
    value: Option<*mut Node>,
    function: pg_sys::Oid,
}

impl KeyPart {
    fn is_same(&self, other: &KeyPart) -> bool {
        let node = |part: &KeyPart| part.value.unwrap_or_default().cast::<c_void>();
        // SAFETY: null or valid expressions; guarded.
        self.function == other.function && unsafe { pg_sys::equal(node(self), node(other)) }
    }
}

/// What the distribution columns of all tables are fixed to.
unsafe fn fixed_keys(
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
            match &common {
                None => common = Some(keys),
                Some(first) if first.iter().zip(&keys).all(|(a, b)| a.is_same(b)) => {}
                Some(_) => return refuse("its tables are fixed to different values"),
            }
        }
        Ok(common.unwrap_or_default())
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
unsafe fn want_values(
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
            return refuse("it inserts more values than are sent as parameters");
        }
        Ok(())
    }
}

/// Rows must not leave their partition, and conflicts must mean the same at the leaf.
unsafe fn check_writes(
    query: *const pg_sys::Query,
    tables: &[Table],
    columns: &[KeyColumn],
) -> Result<(), Error> {
    // SAFETY: a valid query; casts follow what the lists hold.
    unsafe {
        let target = (*query).resultRelation as u32;
        if target == 0 {
            return Ok(());
        }
        let Some(table) = tables.iter().find(|table| table.place == (0, target)) else {
            return refuse("it writes to a table that is not sharded");
        };
        let relid = table.relid;
        let columns = if tables[0].relid == relid { columns.to_vec() } else { hash_key(relid)? };
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
unsafe fn check_expressions(level: &Level) -> Result<(), Error> {
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
            for row in cells::<pg_sys::List>((*entry).values_lists) {
                for value in cells::<Node>(row).filter(|value| (**value).type_ != NodeTag::T_Param)
                {
                    ships(value)?;
                }
            }
        }
        let clauses = cells::<pg_sys::SortGroupClause>(q.sortClause)
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
