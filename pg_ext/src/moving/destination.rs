//! The destination's part of a move: tables to copy to, and their indexes. They
//! stand in a schema of their own until the switch, under the leaves' names.

use cluster::rebalance::{
    Index, LeafDescription, ObservedDestination, Relocation, SourceDescription,
};
use cluster::sharding::{LEAF_SCHEMA, MOVING_SCHEMA, quote_identifier};
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

use super::leaves::{Leaf, find, leaves, owner_of, role_name};
use crate::catalog::ActingAs;
use crate::report::Report;

/// The key of a move in `shardman.move`.
pub fn key(relocation: &Relocation) -> [DatumWithOid<'static>; 2] {
    [(relocation.group.0 as i64).into(), i32::from(relocation.partition.0).into()]
}

/// The condition of it, with the key as $1 and $2.
pub const IS_IT: &str = "group_id OPERATOR(pg_catalog.=) $1 AND pnum OPERATOR(pg_catalog.=) $2";

/// What there is.
pub fn observe(relocation: &Relocation) -> Result<ObservedDestination, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let leaves = leaves(relocation)?;
    let present = leaves.iter().filter(|leaf| find(MOVING_SCHEMA, &leaf.name).is_some()).count();
    // Made in one transaction: all or none, unless somebody dropped one.
    let has_leaves = present > 0;
    let is_whole = present == leaves.len();
    let found = Spi::connect(|client| -> Result<_, Report> {
        let query =
            format!("SELECT snapshot IS NOT NULL, is_indexed FROM shardman.move WHERE {IS_IT}");
        let mut rows = client.select(&query, None, &key(relocation))?;
        Ok(match rows.next() {
            Some(row) => (row.get::<bool>(1)? == Some(true), row.get::<bool>(2)? == Some(true)),
            None => (false, false),
        })
    })?;
    Ok(ObservedDestination {
        has_leaves,
        is_copied: is_whole && found.0,
        is_indexed: is_whole && found.1,
    })
}

/// Makes tables like the parents, without indexes, anew.
pub fn make_leaves(relocation: &Relocation, description: &SourceDescription) -> Result<(), Report> {
    discard(relocation)?;
    let _acting = ActingAs::owner_of_the_catalogs();
    let (mut bytes, mut rows) = (0, 0);
    for leaf in leaves(relocation)? {
        let described = described(description, &leaf)?;
        bytes += described.bytes;
        rows += described.rows;
        make_leaf(&leaf)?;
    }
    let [group, partition] = key(relocation);
    Ok(Spi::run_with_args(
        &format!("UPDATE shardman.move SET bytes_total = $3, rows_total = $4 WHERE {IS_IT}"),
        &[group, partition, bytes.into(), rows.into()],
    )?)
}

/// Makes a table like the parent in the schema of copies, without indexes.
pub fn make_leaf(leaf: &Leaf) -> Result<(), Report> {
    let (name, parent) = (leaf.within(MOVING_SCHEMA), leaf.parent_name());
    let with = match leaf.options.as_slice() {
        [] => String::new(),
        options => format!(" WITH ({})", options.join(", ")),
    };
    Spi::run(&format!(
        "CREATE TABLE {name} (LIKE {parent} INCLUDING DEFAULTS INCLUDING GENERATED
             INCLUDING CONSTRAINTS INCLUDING STORAGE INCLUDING COMPRESSION){with}"
    ))?;
    let settings = Spi::get_one_with_args::<Vec<String>>(
        "SELECT pg_catalog.array_agg(pg_catalog.format('ALTER COLUMN %I SET STATISTICS %s', attname, attstattarget))
         FROM pg_catalog.pg_attribute
         WHERE attrelid OPERATOR(pg_catalog.=) $1 AND attnum OPERATOR(pg_catalog.>) 0
           AND NOT attisdropped AND attstattarget OPERATOR(pg_catalog.>=) 0",
        &[leaf.parent.into()],
    )?;
    if let Some(settings) = settings {
        Spi::run(&format!("ALTER TABLE {name} {}", settings.join(", ")))?;
    }
    let owner = role_name(owner_of(leaf.parent)?);
    Ok(Spi::run(&format!("ALTER TABLE {name} OWNER TO {owner}"))?)
}

fn described<'a>(
    description: &'a SourceDescription,
    leaf: &Leaf,
) -> Result<&'a LeafDescription, Report> {
    description.leaves.iter().find(|described| described.name == leaf.name).ok_or_else(|| {
        Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("partition {} differs between the nodes", leaf.name),
        )
        .hint("Compare shardman.schema_digest() of the nodes.")
    })
}

/// Gives the tables the indexes that the source's leaves have.
pub fn make_indexes(
    relocation: &Relocation,
    description: &SourceDescription,
) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    for leaf in leaves(relocation)? {
        for index in &described(description, &leaf)?.indexes {
            make_index(&leaf, index)?;
        }
        Spi::run(&format!("ANALYZE {}", leaf.within(MOVING_SCHEMA)))?;
    }
    Ok(Spi::run_with_args(
        &format!("UPDATE shardman.move SET is_indexed = true WHERE {IS_IT}"),
        &key(relocation),
    )?)
}

fn make_index(leaf: &Leaf, index: &Index) -> Result<(), Report> {
    let table = leaf.within(MOVING_SCHEMA);
    let name = quote_identifier(&free_name(&index.name));
    match &index.constraint {
        Some(constraint) => {
            Spi::run(&format!("ALTER TABLE {table} ADD CONSTRAINT {name} {constraint}"))?;
        }
        None => {
            // " ON schema.table USING …"
            let at_source = format!(" ON {} ", leaf.within_unquoted(LEAF_SCHEMA));
            let rest = index.definition.strip_prefix(&at_source).ok_or_else(|| {
                Report::new(
                    PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
                    "could not read an index definition",
                )
                .detail(index.definition.clone())
            })?;
            let unique = if index.is_unique { "UNIQUE " } else { "" };
            Spi::run(&format!("CREATE {unique}INDEX {name} ON {table} {rest}"))?;
        }
    }
    Ok(())
}

/// The name that an index has at the source, unless another leaf's has it here:
/// it has to go to the schema of leaves.
fn free_name(wanted: &str) -> String {
    let is_free =
        |name: &str| find(LEAF_SCHEMA, name).is_none() && find(MOVING_SCHEMA, name).is_none();
    if is_free(wanted) {
        return wanted.to_owned();
    }
    let mut room = wanted.len().min(58);
    while !wanted.is_char_boundary(room) {
        room -= 1;
    }
    (1..).map(|n| format!("{}_{n}", &wanted[..room])).find(|name| is_free(name)).unwrap_or_default()
}

/// Drops what was copied.
pub fn discard(relocation: &Relocation) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    for leaf in leaves(relocation)? {
        if let Some(table) = find(MOVING_SCHEMA, &leaf.name) {
            evict_others(table)?;
            Spi::run(&format!("DROP TABLE {}", leaf.within(MOVING_SCHEMA)))?;
        }
    }
    Ok(Spi::run_with_args(
        &format!(
            "UPDATE shardman.move
             SET snapshot = NULL, applied = NULL, is_indexed = false, rows_copied = NULL, behind = NULL
             WHERE {IS_IT}"
        ),
        &key(relocation),
    )?)
}

/// Ends sessions that still fill a table for a driver that is gone.
pub fn evict_others(table: pg_sys::Oid) -> Result<(), Report> {
    Ok(Spi::run_with_args(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_locks
         WHERE locktype OPERATOR(pg_catalog.=) 'relation' AND relation OPERATOR(pg_catalog.=) $1
           AND mode OPERATOR(pg_catalog.<>) ALL ('{AccessShareLock,ShareUpdateExclusiveLock}')
           AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
           AND database OPERATOR(pg_catalog.=)
               (SELECT oid FROM pg_catalog.pg_database
                WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())",
        &[table.into()],
    )?)
}

/// Takes note of what is being done.
pub fn note(relocation: &Relocation, phase: &str) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let [group, partition] = key(relocation);
    Ok(Spi::run_with_args(
        &format!("UPDATE shardman.move SET phase = $3 WHERE {IS_IT}"),
        &[group, partition, phase.into()],
    )?)
}
