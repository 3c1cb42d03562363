//! The leaves of one partition on this node.

use std::ffi::CString;

use cluster::PartitionNumber;
use cluster::TableId;
use cluster::rebalance::Relocation;
use cluster::sharding::{LeafName, quote_identifier};
use pgrx::prelude::*;

use crate::catalog::{ActingAs, qualified_name, registry};
use crate::report::Report;

/// A table of the group, and what stands for the partition here: a table or a
/// foreign table, of the same name on every node.
pub struct Leaf {
    /// The sharded table.
    pub parent: pg_sys::Oid,
    /// Storage parameters.
    pub options: Vec<String>,
    /// Its present leaf here.
    pub oid: pg_sys::Oid,
    /// Unqualified.
    pub name: String,
}

impl Leaf {
    /// Qualified by a schema, as SQL.
    pub fn within(&self, schema: &str) -> String {
        format!("{schema}.{}", quote_identifier(&self.name))
    }

    /// The same with quotes only where PostgreSQL puts them.
    pub fn within_unquoted(&self, schema: &str) -> String {
        format!("{schema}.{}", pgrx::spi::quote_identifier(&self.name))
    }

    /// The sharded table, as SQL.
    pub fn parent_name(&self) -> String {
        qualified_name(self.parent)
    }
}

/// The leaves of a partition of every table of a group, by table id.
pub fn leaves_of(group: TableId, partition: PartitionNumber) -> Result<Vec<Leaf>, Report> {
    let registry = registry()?;
    let tables = registry.tables().iter().filter(|table| table.group_id == group);
    tables
        .map(|table| {
            let (oid, name) = child(table.rel, partition)?;
            let options = table.leaf_options.clone();
            Ok(Leaf { parent: table.rel, options, oid, name })
        })
        .collect()
}

/// The same for a move.
pub fn leaves(relocation: &Relocation) -> Result<Vec<Leaf>, Report> {
    leaves_of(relocation.group, relocation.partition)
}

fn child(parent: pg_sys::Oid, partition: PartitionNumber) -> Result<(pg_sys::Oid, String), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let found = Spi::connect(|client| -> Result<Vec<(pg_sys::Oid, String)>, Report> {
        let rows = client.select(
            "SELECT c.oid, c.relname::pg_catalog.text
             FROM pg_catalog.pg_inherits AS i
                  JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
             WHERE i.inhparent OPERATOR(pg_catalog.=) $1",
            None,
            &[parent.into()],
        )?;
        let mut found = Vec::new();
        for row in rows {
            if let (Some(oid), Some(name)) = (row.get(1)?, row.get::<String>(2)?) {
                found.push((oid, name));
            }
        }
        Ok(found)
    })?;
    let is_it = |name: &str| LeafName::parse(name).is_some_and(|leaf| leaf.partition == partition);
    found.into_iter().find(|(_, name)| is_it(name)).ok_or_else(|| {
        Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("{} has no partition {partition}", qualified_name(parent)),
        )
    })
}

/// A relation by schema and name.
#[allow(unsafe_code)]
pub fn find(schema: &str, name: &str) -> Option<pg_sys::Oid> {
    let (schema, name) = (CString::new(schema).ok()?, CString::new(name).ok()?);
    // SAFETY: syscache look-ups by NUL-terminated names.
    let oid = unsafe {
        let namespace = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), namespace)
    };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// The owner of a relation.
pub fn owner_of(rel: pg_sys::Oid) -> Result<pg_sys::Oid, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let owner = Spi::get_one_with_args::<pg_sys::Oid>(
        "SELECT relowner FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) $1",
        &[rel.into()],
    )?;
    Ok(owner.unwrap_or(pg_sys::InvalidOid))
}

/// A role as SQL.
#[allow(unsafe_code)]
pub fn role_name(role: pg_sys::Oid) -> String {
    // SAFETY: a palloc'd name; an unknown role raises.
    let name = unsafe { crate::lists::text(pg_sys::GetUserNameFromId(role, false)) };
    quote_identifier(&name)
}
