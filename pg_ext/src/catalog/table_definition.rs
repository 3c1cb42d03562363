//! Reading a table's definition out of the catalogues.

use cluster::row_log::TableLog;
use cluster::sharding::{
    ColumnDefinition, ConstraintDefinition, ForeignKeyDefinition, LeafName, SequenceDefinition,
    TableDefinition,
};
use cluster::{NodeId, TableId};
use pgrx::prelude::*;
use serde::Deserialize;

use super::ActingAs;
use super::registry::{ReplicatedTable, ShardedTable, registry};
use crate::report::Report;

/// What `shardman.describe_table` returns.
#[derive(Deserialize)]
struct Described {
    schema: String,
    name: String,
    /// Partition 0's leaf, once there are leaves.
    leaf: Option<String>,
    columns: Vec<ColumnDefinition>,
    constraints: Vec<ConstraintDefinition>,
    indexes: Vec<String>,
    /// Those of an unfinished statement may not be managed yet.
    sequences: Vec<serde_json::Value>,
    /// Columns whose default draws from a sequence of one node alone.
    local_sequence_columns: Vec<String>,
    foreign_keys: Vec<ForeignKeyDefinition>,
    column_settings: Vec<String>,
    storage: Vec<String>,
    attachments: Vec<String>,
}

/// The parent `rel` and what is known about its distribution, as one value.
/// Refuses what cannot be made again elsewhere yet.
pub fn read_definition(
    rel: pg_sys::Oid,
    table_id: TableId,
    group_id: TableId,
    distribution_columns: Vec<String>,
    placement: Vec<NodeId>,
    leaf_options: Vec<String>,
) -> Result<TableDefinition, Report> {
    let described = describe(rel)?;
    refuse_sequences(&described)?;
    let leaf = described.leaf.as_deref().and_then(LeafName::parse);
    let leaf_name = leaf.map(|leaf| leaf.table_name().to_owned());
    Ok(TableDefinition {
        table_id,
        log: None,
        schema: described.schema,
        leaf_name: leaf_name.unwrap_or_else(|| described.name.clone()),
        name: described.name,
        columns: described.columns,
        sequences: managed_among(described.sequences),
        constraints: described.constraints,
        foreign_keys: described.foreign_keys,
        indexes: described.indexes,
        distribution_columns,
        group_id,
        placement,
        leaf_options,
        column_settings: described.column_settings,
        attachments: described.attachments,
    })
}

/// The definition of a table that is registered.
pub fn definition_of(table: &ShardedTable) -> Result<TableDefinition, Report> {
    let placement = registry()?.placement(table.group_id).unwrap_or_default().to_vec();
    read_definition(
        table.rel,
        table.table_id,
        table.group_id,
        table.distribution_columns.clone(),
        placement,
        table.leaf_options.clone(),
    )
}

/// The same of a replicated table.
pub fn definition_of_replicated(table: ReplicatedTable) -> Result<TableDefinition, Report> {
    let storage = describe(table.rel)?.storage;
    let (id, no_columns, no_placement) = (table.table_id, Vec::new(), Vec::new());
    let definition = read_definition(table.rel, id, id, no_columns, no_placement, storage)?;
    let log = table.log.map(|log| TableLog { log, shape: table.shape });
    Ok(TableDefinition { log, ..definition })
}

fn describe(rel: pg_sys::Oid) -> Result<Described, Report> {
    // Prints stored expressions, evaluates none of them.
    let _acting = ActingAs::owner_of_the_catalogs();
    let json = Spi::get_one_with_args::<String>(
        "SELECT shardman.describe_table($1)::pg_catalog.text",
        &[rel.into()],
    )?;
    serde_json::from_str(&json.unwrap_or_default()).map_err(|error| {
        Report::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "could not read a table definition")
            .detail(error.to_string())
    })
}

fn managed_among(sequences: Vec<serde_json::Value>) -> Vec<SequenceDefinition> {
    sequences.into_iter().filter_map(|sequence| serde_json::from_value(sequence).ok()).collect()
}

fn refuse_sequences(described: &Described) -> Result<(), Report> {
    let Some(column) = described.local_sequence_columns.first() else { return Ok(()) };
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("column \"{column}\" of a sharded table cannot draw from a sequence of one node"),
    )
    .detail("Two nodes would give the same value.")
    .hint("Create the sequence while shardman.broadcast_ddl is on, or use serial or GENERATED AS IDENTITY."))
}
