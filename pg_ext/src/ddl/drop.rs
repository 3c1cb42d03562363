//! `DROP TABLE` of sharded tables and `DROP INDEX` of their indexes.
#![allow(unsafe_code)]

use std::cell::RefCell;

use cluster::TableId;
use cluster::sharding::{LeafName, NodeCommand};
use pgrx::prelude::*;

use super::fences::{relation_of, table_of_index};
use super::meaning::set;
use super::step::{Finish, Step};
use super::{OwnWork, is_leaf_schema, leaf_by_hand, lock_ddl, sequences};
use crate::catalog::{qualified_name, registry, unregister_table};
use crate::lists::{elements, text};
use crate::membership::my_identity_if_any;
use crate::moving::tables_not_while_moving;
use crate::report::Report;
use crate::row_log;
use crate::{compat, peers};

/// What a DROP is about to remove.
pub struct DroppedObjects {
    /// Sharded tables among it.
    tables: Vec<TableId>,
    /// The same for the other nodes, without what is local to this one.
    statement: String,
}

/// The tables that the running statement may drop, with the transaction it
/// belongs to: an entry left behind by an error is void in the next one.
struct Permit {
    transaction: pg_sys::LocalTransactionId,
    rels: Vec<pg_sys::Oid>,
}

thread_local! {
    static PERMIT: RefCell<Option<Permit>> = const { RefCell::new(None) };
}

/// Looks at a DROP.
///
/// # Safety
/// `statement` is a valid DropStmt.
pub unsafe fn before(statement: *mut pg_sys::DropStmt) -> Result<Step, Report> {
    use pg_sys::ObjectType::{OBJECT_FOREIGN_TABLE, OBJECT_INDEX, OBJECT_TABLE};
    // SAFETY: the caller's.
    let (kind, is_cascade) = unsafe {
        let cascade = (*statement).behavior == pg_sys::DropBehavior::DROP_CASCADE;
        ((*statement).removeType, cascade)
    };
    let noun = match kind {
        OBJECT_TABLE | OBJECT_FOREIGN_TABLE => "TABLE",
        OBJECT_INDEX => "INDEX",
        _ => return Ok(Step::Pass),
    };
    // SAFETY: for relations the objects are lists of name strings.
    let named = unsafe {
        elements::<pg_sys::List>((*statement).objects)
            .filter_map(|names| relation_of(pg_sys::makeRangeVarFromNameList(names)))
            .collect::<Vec<_>>()
    };
    if let Some(leaf) = named.iter().find(|rel| is_leaf_schema(**rel)) {
        return Err(leaf_by_hand(*leaf));
    }
    if managed(&named)?.is_empty() {
        return Ok(Step::Pass);
    }
    lock_ddl()?;
    let managed = managed(&named)?;
    let tables: Vec<_> = managed.iter().map(|(rel, _)| table_of_index(*rel)).collect();
    tables_not_while_moving(&tables)?;
    managed.iter().try_for_each(|(rel, _)| row_log::before_change(*rel))?;
    let names: Vec<_> = managed.iter().map(|(rel, _)| qualified_name(*rel)).collect();
    let behavior = if is_cascade { "CASCADE" } else { "RESTRICT" };
    let statement = format!("DROP {noun} {} {behavior}", names.join(", "));
    let tables: Vec<_> = match noun {
        "TABLE" => managed.iter().map(|(_, table)| *table).collect(),
        _ => Vec::new(),
    };
    permit(managed.iter().map(|(rel, _)| *rel).collect());
    let finish = Some(Finish::Drop(DroppedObjects { tables, statement }));
    Ok(Step::Run { statement: std::ptr::null_mut(), finish })
}

/// Those that are sharded or replicated tables, or indexes of such tables.
fn managed(rels: &[pg_sys::Oid]) -> Result<Vec<(pg_sys::Oid, TableId)>, Report> {
    let registry = registry()?;
    let table_of = |rel: &pg_sys::Oid| {
        // SAFETY: a syscache look-up.
        let table = unsafe { pg_sys::IndexGetRelation(*rel, true) };
        let table = if table == pg_sys::InvalidOid { *rel } else { table };
        registry.managed_id(table).map(|table| (*rel, table))
    };
    Ok(rels.iter().filter_map(table_of).collect())
}

impl DroppedObjects {
    /// Removes the tables from the shard map and drops the same elsewhere.
    pub fn finish(&self) -> Result<(), Report> {
        PERMIT.set(None);
        self.tables.iter().try_for_each(|table| unregister_table(*table))?;
        sequences::forget_dropped()?;
        let (tables, statement) = (self.tables.clone(), self.statement.clone());
        peers::tell_all(&NodeCommand::Drop { tables, statement })
    }
}

/// The same on a node that is told so.
pub fn apply(tables: &[TableId], statement: &str) -> Result<(), Report> {
    let _own_work = OwnWork::begin();
    // The client has had the notices of a cascade from its own node.
    // SAFETY: a nest level that is left below; an abort leaves it too.
    let level = unsafe { pg_sys::NewGUCNestLevel() };
    set("client_min_messages", "warning")?;
    Spi::run(statement)?;
    // SAFETY: the level of above.
    unsafe { pg_sys::AtEOXact_GUC(true, level) };
    tables.iter().try_for_each(|table| unregister_table(*table))?;
    sequences::forget_dropped()
}

fn permit(rels: Vec<pg_sys::Oid>) {
    PERMIT.set(Some(Permit { transaction: compat::local_transaction_id(), rels }));
}

fn is_permitted(rel: pg_sys::Oid) -> bool {
    PERMIT.with_borrow(|permit| {
        permit.as_ref().is_some_and(|permit| {
            permit.transaction == compat::local_transaction_id() && permit.rels.contains(&rel)
        })
    })
}

/// Called for every relation that is about to disappear: refuses the end of a
/// sharded table by any way but its own DROP TABLE.
pub fn before_drop(rel: pg_sys::Oid) -> Result<(), Report> {
    if OwnWork::is_going_on() {
        return Ok(());
    }
    // SAFETY: syscache look-ups; a palloc'd name or null.
    let (kind, name) =
        unsafe { (pg_sys::get_rel_relkind(rel) as u8, text(pg_sys::get_rel_name(rel))) };
    let table = if kind == pg_sys::RELKIND_PARTITIONED_TABLE {
        registry()?.table_of(rel).map(|table| table.rel)
    } else if matches!(kind, pg_sys::RELKIND_RELATION) && registry()?.replicated_of(rel).is_some() {
        Some(rel)
    } else if matches!(kind, pg_sys::RELKIND_RELATION | pg_sys::RELKIND_FOREIGN_TABLE)
        && is_leaf_schema(rel)
    {
        let leaf = LeafName::parse(&name);
        leaf.and_then(|leaf| registry().ok()?.table(leaf.table).map(|table| table.rel))
    } else {
        None
    };
    match table {
        // A server that has left its cluster is nobody's concern.
        Some(table) if !is_permitted(table) && my_identity_if_any()?.is_some() => Err(Report::new(
            PgSqlErrorCode::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot drop table {} together with another object", qualified_name(table)),
        )
        .detail("It exists on every node, and the statement would drop it on this one only.")
        .hint("Drop it with DROP TABLE first.")),
        _ => Ok(()),
    }
}
