//! ALTER COLUMN TYPE of a column that a foreign key is over.
//!
//! PostgreSQL would make the parent's constraint anew with all that goes with it
//! on a partitioned table. So the foreign key is away while the statement runs.
#![allow(unsafe_code)]

use cluster::TableId;
use cluster::sharding::{ForeignKeyDefinition, NodeCommand};
use pgrx::prelude::*;

use super::add::drop_named;
use crate::catalog::{ActingAs, definition_of, registry};
use crate::lists::{elements, text};
use crate::peers;
use crate::report::Report;

/// Drops, on every node, the foreign keys over columns whose type the statement
/// changes. Returns them by referencing table, to be added again afterwards.
///
/// # Safety
/// `statement` is a valid AlterTableStmt about the sharded table `rel`.
pub unsafe fn drop_around_type_change(
    statement: *mut pg_sys::AlterTableStmt,
    rel: pg_sys::Oid,
) -> Result<Vec<(TableId, Vec<ForeignKeyDefinition>)>, Report> {
    // SAFETY: the caller's; the grammar's node types.
    let columns: Vec<String> = unsafe {
        elements::<pg_sys::AlterTableCmd>((*statement).cmds)
            .filter(|command| (**command).subtype == pg_sys::AlterTableType::AT_AlterColumnType)
            .map(|command| text((*command).name))
            .collect()
    };
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let mut dropped: Vec<(TableId, Vec<ForeignKeyDefinition>)> = Vec::new();
    let registry = registry()?;
    for (referencing, names) in over_columns(rel, &columns)? {
        let Some(table) = registry.table_of(referencing) else { continue };
        let keys = definition_of(table)?.foreign_keys;
        let keys: Vec<_> = keys.into_iter().filter(|key| names.contains(&key.name)).collect();
        drop_named(table.table_id, &names)?;
        peers::tell_all(&NodeCommand::DropForeignKeys { table: table.table_id, names })?;
        dropped.push((table.table_id, keys));
    }
    Ok(dropped)
}

/// The foreign keys from or to some columns of a table, by referencing table.
fn over_columns(
    rel: pg_sys::Oid,
    columns: &[String],
) -> Result<Vec<(pg_sys::Oid, Vec<String>)>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    Spi::connect(|client| {
        let rows = client.select(
            "WITH changed AS (
                 SELECT pg_catalog.array_agg(attnum) AS numbers FROM pg_catalog.pg_attribute
                 WHERE attrelid OPERATOR(pg_catalog.=) $1
                   AND attname::pg_catalog.text OPERATOR(pg_catalog.=) ANY ($2))
             SELECT k.conrelid, pg_catalog.array_agg(k.conname::pg_catalog.text)
             FROM pg_catalog.pg_constraint AS k, changed
             WHERE k.contype OPERATOR(pg_catalog.=) 'f'
               AND ((k.conrelid OPERATOR(pg_catalog.=) $1 AND k.conkey OPERATOR(pg_catalog.&&) changed.numbers)
                    OR (k.confrelid OPERATOR(pg_catalog.=) $1 AND k.confkey OPERATOR(pg_catalog.&&) changed.numbers))
             GROUP BY k.conrelid",
            None,
            &[rel.into(), columns.to_vec().into()],
        )?;
        let mut found = Vec::new();
        for row in rows {
            let referencing = row.get::<pg_sys::Oid>(1)?.unwrap_or_default();
            found.push((referencing, row.get::<Vec<String>>(2)?.unwrap_or_default()));
        }
        Ok(found)
    })
}
