//! Writing the shard map. Every write ends with the invalidation that makes
//! all backends read it again.
#![allow(unsafe_code)]

use cluster::TableId;
use cluster::metadata::TokenId;
use cluster::rebalance::Relocation;
use cluster::row_log::TableLog;
use cluster::sharding::TableDefinition;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

use super::ActingAs;
use crate::report::Report;

/// The next table id of the cluster. The caller holds the DDL lock, here and
/// on the node with the lowest id.
pub fn next_table_id() -> Result<TableId, Report> {
    Ok(TableId(last_table_id()?.0 + 1))
}

/// The last table id given, for a node that joins.
pub fn last_table_id() -> Result<TableId, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let last = Spi::get_one::<i64>("SELECT last_table_id FROM shardman.ddl_state")?;
    Ok(TableId(last.unwrap_or_default() as u64))
}

/// Takes note that ids up to `last` have been given.
pub fn note_table_id(last: TableId) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    Ok(Spi::run_with_args(
        "UPDATE shardman.ddl_state SET last_table_id = GREATEST(last_table_id, $1)",
        &[(last.0 as i64).into()],
    )?)
}

/// Enters a table that now exists as `rel` on this node, and its group's
/// placement if the group is new.
pub fn register_table(definition: &TableDefinition, rel: pg_sys::Oid) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let number = |id: TableId| id.0 as i64;
    let placement: Vec<i32> = definition.placement.iter().map(|node| node.0 as i32).collect();
    note_table_id(definition.table_id)?;
    Spi::run_with_args(
        "INSERT INTO shardman.sharded_table (table_id, rel, num_parts, distribution_columns, group_id, leaf_options)
         VALUES ($1, $2, $3, $4::pg_catalog.name[], $5, $6)",
        &[
            number(definition.table_id).into(),
            rel.into(),
            (placement.len() as i32).into(),
            definition.distribution_columns.clone().into(),
            number(definition.group_id).into(),
            definition.leaf_options.clone().into(),
        ],
    )?;
    let group = [DatumWithOid::from(number(definition.group_id)), placement.into()];
    // Every table of the group carries it: on a node that joins later the table
    // that founded the group may be gone.
    Spi::run_with_args(
        "INSERT INTO shardman.placement (group_id, pnum, node_id)
         SELECT $1, (p.n - 1)::pg_catalog.int4, p.node_id
         FROM pg_catalog.unnest($2) WITH ORDINALITY AS p(node_id, n)
         ON CONFLICT DO NOTHING",
        &group,
    )?;
    invalidate()
}

/// Enters a replicated table that now exists as `rel` on this node.
pub fn register_replicated(
    table: TableId,
    rel: pg_sys::Oid,
    log: Option<TableLog>,
) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    note_table_id(table)?;
    Spi::run_with_args(
        "INSERT INTO shardman.replicated_table (table_id, rel, log_id, shape)
         VALUES ($1, $2, $3, $4)",
        &[
            (table.0 as i64).into(),
            rel.into(),
            log.map(|log| log.log.0 as i32).into(),
            log.map_or(0, |log| log.shape.0 as i64).into(),
        ],
    )?;
    invalidate()
}

/// Notes that a change of the schema gives a table with a log another shape.
pub fn note_shape(table: TableId, shape: TokenId) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    Spi::run_with_args(
        "UPDATE shardman.replicated_table SET shape = $2 WHERE table_id OPERATOR(pg_catalog.=) $1",
        &[(table.0 as i64).into(), (shape.0 as i64).into()],
    )?;
    invalidate()
}

/// Removes a table, sharded or replicated, and its group's placement with the group's last table.
pub fn unregister_table(table: TableId) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    Spi::run_with_args(
        "WITH gone AS (
             DELETE FROM shardman.sharded_table WHERE table_id OPERATOR(pg_catalog.=) $1 RETURNING group_id)
         DELETE FROM shardman.placement AS p USING gone
         WHERE p.group_id OPERATOR(pg_catalog.=) gone.group_id
           AND NOT EXISTS (SELECT FROM shardman.sharded_table AS t
                           WHERE t.group_id OPERATOR(pg_catalog.=) gone.group_id
                             AND t.table_id OPERATOR(pg_catalog.<>) $1)",
        &[(table.0 as i64).into()],
    )?;
    Spi::run_with_args(
        "DELETE FROM shardman.replicated_table WHERE table_id OPERATOR(pg_catalog.=) $1",
        &[(table.0 as i64).into()],
    )?;
    invalidate()
}

/// Makes all backends read the catalogue of sharded tables again. To be called
/// by whoever wrote it by other means than this module.
pub fn note_changed_tables() -> Result<(), Report> {
    invalidate()
}

/// The shard map after a move: the partition is on another node.
pub fn move_partition(relocation: &Relocation) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let moved = Spi::get_one_with_args::<bool>(
        "WITH moved AS (
             UPDATE shardman.placement
             SET node_id = $4, version = version OPERATOR(pg_catalog.+) 1,
                 moved_by = pg_catalog.pg_current_xact_id()
             WHERE group_id OPERATOR(pg_catalog.=) $1 AND pnum OPERATOR(pg_catalog.=) $2
               AND node_id OPERATOR(pg_catalog.=) $3
             RETURNING 1)
         SELECT EXISTS (SELECT FROM moved)",
        &[
            (relocation.group.0 as i64).into(),
            i32::from(relocation.partition.0).into(),
            (relocation.source.0 as i32).into(),
            (relocation.destination.0 as i32).into(),
        ],
    )?;
    if moved != Some(true) {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!(
                "partition {} of group {} is not on node {}",
                relocation.partition, relocation.group, relocation.source
            ),
        ));
    }
    invalidate()
}

fn invalidate() -> Result<(), Report> {
    let table = super::catalog(c"sharded_table")?;
    // SAFETY: the table exists.
    unsafe {
        pg_sys::CacheInvalidateRelcacheByRelid(table);
        pg_sys::CommandCounterIncrement();
    }
    super::forget_registry();
    Ok(())
}
