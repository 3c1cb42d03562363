//! Statements that write one row, found by its primary key: they lock that key
//! instead of the whole table.
//!
//! The plan tells: the rows of one scan (or one row of values), whose key is
//! compared with (or set to) constants and parameters. If a trigger or a second
//! unique index brings further rows in, two writers may deadlock over them, as
//! two clients of one server may; copies stay equal whatever is locked here.
#![allow(unsafe_code)]

use cluster::TableId;
use cluster::replication::WriterLock;
use pgrx::prelude::*;

use super::key::Key;
use crate::lists::elements;

/// The number of the plain hash function in a hash operator family.
const HASH_FUNCTION: i16 = 1;
const EQUAL: i32 = pg_sys::BTEqualStrategyNumber as i32;

/// The lock of the only key that the statement writes; `None` for more than one
/// or if it cannot be told.
///
/// # Safety
/// `statement` is about to be started; `rel` is the only table it writes.
pub unsafe fn lock_of(
    statement: *mut pg_sys::QueryDesc,
    table: TableId,
    rel: pg_sys::Oid,
) -> Option<WriterLock> {
    // SAFETY: the caller's; the plan tree's nodes are what their tags say, and the
    // relation was locked when it was planned.
    unsafe {
        let planned = (*statement).plannedstmt;
        let top: *mut pg_sys::ModifyTable = (*planned).planTree.cast();
        if (*top).plan.type_ != pg_sys::NodeTag::T_ModifyTable
            || (*planned).hasModifyingCTE
            || (*(*top).resultRelations).length != 1
        {
            return None;
        }
        let relation = pg_sys::table_open(rel, pg_sys::NoLock as i32);
        let lock = match Unique::of(relation) {
            Some(unique) => hash_of(statement, top, &unique),
            None => None,
        };
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        lock.map(|key| WriterLock::Key(table, key))
    }
}

/// What makes rows of a table unique.
struct Unique {
    key: Key,
    families: Vec<pg_sys::Oid>,
    types: Vec<pg_sys::Oid>,
    collations: Vec<pg_sys::Oid>,
    /// Columns of other unique indexes; `None` if one of them has expressions.
    others: Option<Vec<i16>>,
}

impl Unique {
    /// SAFETY: an open relation.
    unsafe fn of(relation: pg_sys::Relation) -> Option<Unique> {
        // SAFETY: the caller's; indexes are opened, read and closed.
        unsafe {
            let key = Key::of(relation).ok()?;
            // Rows that refer to the one that is written are rows of the table.
            let rel = (*relation).rd_id;
            let keys = pg_sys::RelationGetFKeyList(relation);
            if elements::<pg_sys::ForeignKeyCacheInfo>(keys).any(|key| (*key).confrelid == rel) {
                return None;
            }
            let natts = (*(*relation).rd_att).natts as usize;
            let attributes = (*(*relation).rd_att).attrs.as_slice(natts);
            let of = |number: &i16| attributes.get(usize::try_from(*number - 1).ok()?);
            let types =
                key.columns.iter().map(|c| of(c).map(|a| a.atttypid)).collect::<Option<_>>()?;
            let mut unique = Unique {
                families: Vec::new(),
                types,
                collations: Vec::new(),
                others: Some(Vec::new()),
                key,
            };
            let list = pg_sys::RelationGetIndexList(relation);
            let count = list.as_ref().map_or(0, |list| list.length);
            for at in 0..count {
                let index = pg_sys::list_nth_oid(list, at);
                let opened = pg_sys::index_open(index, pg_sys::AccessShareLock as i32);
                let form = (*opened).rd_index;
                let keys = (*form).indnkeyatts as usize;
                if index == unique.key.index {
                    unique.families =
                        std::slice::from_raw_parts((*opened).rd_opfamily, keys).to_vec();
                    unique.collations =
                        std::slice::from_raw_parts((*opened).rd_indcollation, keys).to_vec();
                } else if (*form).indisunique || (*form).indisexclusion {
                    let columns = (*form).indkey.values.as_slice(keys);
                    match &mut unique.others {
                        Some(others) if columns.iter().all(|column| *column > 0) => {
                            others.extend_from_slice(columns);
                        }
                        others => *others = None,
                    }
                }
                pg_sys::index_close(opened, pg_sys::AccessShareLock as i32);
            }
            pg_sys::list_free(list);
            Some(unique)
        }
    }
}

/// SAFETY: as for `lock_of`.
unsafe fn hash_of(
    statement: *mut pg_sys::QueryDesc,
    top: *mut pg_sys::ModifyTable,
    unique: &Unique,
) -> Option<u32> {
    // SAFETY: the caller's.
    unsafe {
        let source = (*top).plan.lefttree;
        let others = unique.others.as_ref()?;
        let sets = |list: *mut pg_sys::List| {
            let count = list.as_ref().map_or(0, |list| list.length);
            let columns = (0..count).map(|at| pg_sys::list_nth_int(list, at) as i16);
            columns.into_iter().any(|c| unique.key.columns.contains(&c) || others.contains(&c))
        };
        match (*top).operation {
            pg_sys::CmdType::CMD_INSERT => {
                let is_one_row =
                    (*source).type_ == pg_sys::NodeTag::T_Result && (*source).lefttree.is_null();
                let conflict = (*top).onConflictAction;
                let changes_key = conflict == pg_sys::OnConflictAction::ONCONFLICT_UPDATE
                    && sets((*top).onConflictCols);
                if !is_one_row || !others.is_empty() || changes_key {
                    return None;
                }
                let value = |column: i16| {
                    let entry = elements::<pg_sys::TargetEntry>((*source).targetlist)
                        .find(|entry| (**entry).resno == column)?;
                    Some((*entry).expr.cast::<pg_sys::Node>())
                };
                combine(statement, unique, value)
            }
            pg_sys::CmdType::CMD_UPDATE | pg_sys::CmdType::CMD_DELETE => {
                let target = pg_sys::list_nth_int((*top).resultRelations, 0) as u32;
                let updated = (*top).updateColnosLists;
                if !updated.is_null() && sets(pg_sys::list_nth(updated, 0).cast()) {
                    return None;
                }
                let scan: *mut pg_sys::Scan = source.cast();
                let more = match (*source).type_ {
                    pg_sys::NodeTag::T_SeqScan => std::ptr::null_mut(),
                    pg_sys::NodeTag::T_IndexScan => {
                        (*source.cast::<pg_sys::IndexScan>()).indexqualorig
                    }
                    pg_sys::NodeTag::T_BitmapHeapScan => {
                        (*source.cast::<pg_sys::BitmapHeapScan>()).bitmapqualorig
                    }
                    _ => return None,
                };
                if (*scan).scanrelid != target {
                    return None;
                }
                let conditions: Vec<*mut pg_sys::Node> =
                    elements((*source).qual).chain(elements(more)).collect();
                let value = |column: i16| {
                    let at = unique.key.columns.iter().position(|c| *c == column)?;
                    let family = *unique.families.get(at)?;
                    conditions.iter().find_map(|c| compared_with(*c, target, column, family))
                };
                combine(statement, unique, value)
            }
            _ => None,
        }
    }
}

/// The other side of `column = …`.
unsafe fn compared_with(
    condition: *mut pg_sys::Node,
    target: u32,
    column: i16,
    family: pg_sys::Oid,
) -> Option<*mut pg_sys::Node> {
    // SAFETY: a valid expression; casts follow the tag.
    unsafe {
        if (*condition).type_ != pg_sys::NodeTag::T_OpExpr {
            return None;
        }
        let operator: *mut pg_sys::OpExpr = condition.cast();
        let sides: Vec<*mut pg_sys::Node> = elements((*operator).args).collect();
        let [left, right] = sides[..] else { return None };
        let is_column = |node: *mut pg_sys::Node| {
            (*node).type_ == pg_sys::NodeTag::T_Var && {
                let var: *mut pg_sys::Var = node.cast();
                (*var).varno as u32 == target && (*var).varattno == column
            }
        };
        let value = match (is_column(left), is_column(right)) {
            (true, false) => right,
            (false, true) => left,
            _ => return None,
        };
        let strategy = pg_sys::get_op_opfamily_strategy((*operator).opno, family);
        (strategy == EQUAL).then_some(value)
    }
}

/// The hash of all key columns, equal for values that are equal, on every node.
unsafe fn combine(
    statement: *mut pg_sys::QueryDesc,
    unique: &Unique,
    value: impl Fn(i16) -> Option<*mut pg_sys::Node>,
) -> Option<u32> {
    let mut hash = 0u32;
    for (at, column) in unique.key.columns.iter().enumerate() {
        let node = value(*column)?;
        // SAFETY: a valid expression of the plan, values of its type; the entry of
        // the type cache lives as long as the backend.
        unsafe {
            let (datum, type_oid) = constant(statement, node)?;
            let of_column =
                pg_sys::lookup_type_cache(unique.types[at], pg_sys::TYPECACHE_HASH_OPFAMILY as i32);
            let family = (*of_column).hash_opf;
            if family == pg_sys::InvalidOid {
                return None;
            }
            let class = pg_sys::get_opfamily_proc(family, type_oid, type_oid, HASH_FUNCTION);
            if class == pg_sys::InvalidOid {
                return None;
            }
            let own = pg_sys::OidFunctionCall1Coll(class, *unique.collations.get(at)?, datum);
            hash = hash.rotate_left(1) ^ own.value() as u32;
        }
    }
    Some(hash)
}

/// The value of a constant or of a parameter that the client or a function has
/// given; `None` for NULL and anything else.
unsafe fn constant(
    statement: *mut pg_sys::QueryDesc,
    node: *mut pg_sys::Node,
) -> Option<(pg_sys::Datum, pg_sys::Oid)> {
    // SAFETY: casts follow the tag; parameters are read as the executor does.
    unsafe {
        match (*node).type_ {
            pg_sys::NodeTag::T_Const => {
                let constant: *mut pg_sys::Const = node.cast();
                (!(*constant).constisnull)
                    .then_some(((*constant).constvalue, (*constant).consttype))
            }
            pg_sys::NodeTag::T_Param => {
                let parameter: *mut pg_sys::Param = node.cast();
                let params = (*statement).params;
                let id = (*parameter).paramid;
                if (*parameter).paramkind != pg_sys::ParamKind::PARAM_EXTERN
                    || params.is_null()
                    || id < 1
                    || id > (*params).numParams
                {
                    return None;
                }
                let mut space = std::mem::zeroed::<pg_sys::ParamExternData>();
                let given = match (*params).paramFetch {
                    Some(fetch) => *fetch(params, id, false, &raw mut space),
                    None => *(*params).params.as_ptr().add(id as usize - 1),
                };
                (given.ptype == (*parameter).paramtype && !given.isnull)
                    .then_some((given.value, given.ptype))
            }
            _ => None,
        }
    }
}
