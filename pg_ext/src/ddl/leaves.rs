//! Making the leaves of a parent on this node.
#![allow(unsafe_code)]

use std::ffi::CString;

use cluster::sharding::TableDefinition;
use pgrx::prelude::*;

use super::OwnWork;
use super::flip::Flip;
use super::hide::Hidden;
use super::schema_rights::SchemaRights;
use crate::catalog::register_table;
use crate::membership;
use crate::replicated;
use crate::report::Report;

/// Gives the parent, which exists and belongs to the current user, its leaves
/// and registers it. The DDL lock is held. Leaves belong to the same user and
/// are made with that user's rights: their indexes may hold the user's
/// expressions.
pub fn create_from_definition(definition: &TableDefinition) -> Result<(), Report> {
    let me = membership::my_identity()?.node_id;
    let _own_work = OwnWork::begin();
    let rel = parent(definition)?;
    if definition.is_replicated() {
        return replicated::register(definition.table_id, rel, definition.log);
    }
    let borrowed = SchemaRights::borrow()?;
    for statement in definition.local_leaf_statements(me) {
        Spi::run(&statement)?;
    }
    make_foreign_leaves(definition, rel)?;
    borrowed.give_back()?;
    register_table(definition, rel)
}

/// Gives the parent `rel` its foreign leaves. The caller has CREATE on their
/// schema.
pub fn make_foreign_leaves(definition: &TableDefinition, rel: pg_sys::Oid) -> Result<(), Report> {
    let me = membership::my_identity()?.node_id;
    // They cannot be attached while the parent has unique indexes.
    let flip = Flip::over(rel)?;
    for statement in definition.foreign_leaf_statements(me) {
        Spi::run(&statement)?;
    }
    flip.back()
}

/// What hangs on the parent besides columns, keys and indexes. For a copy: on
/// the node where the table was created it is there already.
pub fn attach(definition: &TableDefinition) -> Result<(), Report> {
    let _own_work = OwnWork::begin();
    definition.column_settings.iter().try_for_each(|sql| Spi::run(sql))?;
    let of_sequences = definition.sequences.iter().flat_map(|sequence| &sequence.attachments);
    of_sequences.into_iter().try_for_each(|sql| Spi::run(sql))?;
    if definition.attachments.is_empty() {
        return Ok(());
    }
    if definition.is_replicated() {
        return Ok(definition.attachments.iter().try_for_each(|sql| Spi::run(sql))?);
    }
    let hidden = Hidden::hide(parent(definition)?)?;
    definition.attachments.iter().try_for_each(|sql| Spi::run(sql))?;
    hidden.show()
}

fn parent(definition: &TableDefinition) -> Result<pg_sys::Oid, Report> {
    let (schema, name) = (CString::new(&*definition.schema), CString::new(&*definition.name));
    let rel = match (&schema, &name) {
        // SAFETY: syscache look-ups by NUL-terminated names.
        (Ok(schema), Ok(name)) => unsafe {
            let namespace = pg_sys::get_namespace_oid(schema.as_ptr(), true);
            pg_sys::get_relname_relid(name.as_ptr(), namespace)
        },
        _ => pg_sys::InvalidOid,
    };
    if rel == pg_sys::InvalidOid {
        let name = definition.qualified_name();
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("relation {name} does not exist"),
        ));
    }
    Ok(rel)
}
