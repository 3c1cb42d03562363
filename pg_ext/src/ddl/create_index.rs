//! `CREATE INDEX` on a sharded table.
#![allow(unsafe_code)]

use std::ffi::CString;

use cluster::sharding::NodeCommand;
use pgrx::prelude::*;

use super::concurrently;
use super::fences::relation_of;
use super::hide::Hidden;
use super::schema_rights::SchemaRights;
use super::step::{Finish, Step};
use super::unique_keys::check_unique_index;
use super::{OwnWork, is_leaf_schema, leaf_by_hand, lock_ddl};
use crate::catalog::{ActingAs, registry};
use crate::lists::text;
use crate::moving::tables_not_while_moving;
use crate::peers;
use crate::report::Report;
use crate::row_log;

/// An index that PostgreSQL is about to create on a parent and its local leaves.
pub struct CreatedIndex {
    parent: pg_sys::Oid,
    is_unique: bool,
    hidden: Option<Hidden>,
    rights: SchemaRights,
    indexes_before: Vec<pg_sys::Oid>,
}

/// Looks at a CREATE INDEX.
///
/// # Safety
/// `statement` is a valid IndexStmt.
pub unsafe fn before(
    statement: *mut pg_sys::IndexStmt,
    context: pg_sys::ProcessUtilityContext::Type,
) -> Result<Step, Report> {
    // SAFETY: the caller's.
    let (parent, is_unique, is_concurrent) = unsafe {
        let Some(parent) = relation_of((*statement).relation) else { return Ok(Step::Pass) };
        (parent, (*statement).unique, (*statement).concurrent)
    };
    if is_leaf_schema(parent) {
        return Err(leaf_by_hand(parent));
    }
    let registry = registry()?;
    if registry.managed_id(parent).is_none() {
        return Ok(Step::Pass);
    }
    if let Some(table) = registry.table_of(parent) {
        // SAFETY: the caller's.
        unsafe { check_unique_index(statement, &table.distribution_columns) }?;
    }
    if is_concurrent {
        // SAFETY: the caller's.
        return unsafe { concurrently::create_index(statement, parent, context) };
    }
    lock_ddl()?;
    tables_not_while_moving(&[parent])?;
    row_log::before_change(parent)?;
    let hides = is_unique && registry.table_of(parent).is_some();
    let hidden = hides.then(|| Hidden::hide(parent)).transpose()?;
    let indexes_before = indexes_of(parent)?;
    let rights = SchemaRights::borrow()?;
    let created = CreatedIndex { parent, is_unique, hidden, rights, indexes_before };
    Ok(Step::Run { statement: std::ptr::null_mut(), finish: Some(Finish::CreateIndex(created)) })
}

impl CreatedIndex {
    /// Shows what was hidden and makes the index on the other nodes, under the
    /// name it got here.
    pub fn finish(&self) -> Result<(), Report> {
        // SAFETY: makes the new index visible.
        unsafe { pg_sys::CommandCounterIncrement() };
        self.rights.give_back()?;
        if let Some(hidden) = &self.hidden {
            hidden.show()?;
        }
        let indexes = indexes_of(self.parent)?;
        let new = indexes.into_iter().find(|index| !self.indexes_before.contains(index));
        // None under IF NOT EXISTS.
        let Some(index) = new else { return Ok(()) };
        let statement = describe_index(index)?;
        // SAFETY: syscache look-ups; palloc'd names or null.
        let (schema, table) = unsafe {
            let namespace = pg_sys::get_rel_namespace(self.parent);
            (text(pg_sys::get_namespace_name(namespace)), text(pg_sys::get_rel_name(self.parent)))
        };
        let is_unique = self.is_unique;
        peers::tell_all(&NodeCommand::CreateIndex { schema, table, is_unique, statement })
    }
}

/// The same on a node that is told so.
pub fn apply(schema: &str, table: &str, is_unique: bool, statement: &str) -> Result<(), Report> {
    let _own_work = OwnWork::begin();
    let rel = find(schema, table)?;
    let hides = is_unique && registry()?.table_of(rel).is_some();
    let hidden = hides.then(|| Hidden::hide(rel)).transpose()?;
    let rights = SchemaRights::borrow()?;
    Spi::run(statement)?;
    rights.give_back()?;
    hidden.map_or(Ok(()), |hidden| hidden.show())
}

fn find(schema: &str, table: &str) -> Result<pg_sys::Oid, Report> {
    let c_name = |name: &str| CString::new(name).unwrap_or_default();
    // SAFETY: syscache look-ups by NUL-terminated names.
    let rel = unsafe {
        let namespace = pg_sys::get_namespace_oid(c_name(schema).as_ptr(), true);
        pg_sys::get_relname_relid(c_name(table).as_ptr(), namespace)
    };
    if rel == pg_sys::InvalidOid {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("relation \"{schema}.{table}\" does not exist"),
        ));
    }
    Ok(rel)
}

fn indexes_of(parent: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let indexes = Spi::get_one_with_args::<Vec<pg_sys::Oid>>(
        "SELECT pg_catalog.array_agg(indexrelid) FROM pg_catalog.pg_index
         WHERE indrelid OPERATOR(pg_catalog.=) $1",
        &[parent.into()],
    )?;
    Ok(indexes.unwrap_or_default())
}

fn describe_index(index: pg_sys::Oid) -> Result<String, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let described =
        Spi::get_one_with_args::<String>("SELECT shardman.describe_index($1)", &[index.into()])?;
    Ok(described.unwrap_or_default())
}
