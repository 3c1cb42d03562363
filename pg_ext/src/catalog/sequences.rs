//! Reading and writing the catalogue of managed sequences.
#![allow(unsafe_code)]

use cluster::SequenceId;
use cluster::metadata::SequenceBounds;
use cluster::sharding::SequenceDefinition;
use pgrx::prelude::*;
use serde::Deserialize;

use super::{ActingAs, note_changed_tables};
use crate::report::Report;

/// What `shardman.describe_sequence` returns of a sequence that may not be
/// managed yet.
#[derive(Deserialize)]
struct Described {
    sequence_id: Option<u64>,
    start: i64,
    increment: i64,
    min: i64,
    max: i64,
    cycle: bool,
}

fn describe(rel: pg_sys::Oid) -> Result<String, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let json = Spi::get_one_with_args::<String>(
        "SELECT shardman.describe_sequence($1)::pg_catalog.text",
        &[rel.into()],
    )?;
    Ok(json.unwrap_or_default())
}

fn unreadable(error: serde_json::Error) -> Report {
    Report::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "could not read a sequence definition")
        .detail(error.to_string())
}

/// A sequence that is managed.
pub fn definition_of_sequence(rel: pg_sys::Oid) -> Result<SequenceDefinition, Report> {
    serde_json::from_str(&describe(rel)?).map_err(unreadable)
}

/// A sequence of one node as it will be when it is managed: it goes on where it
/// stands. The caller keeps others from drawing.
pub fn future_definition_of_sequence(rel: pg_sys::Oid) -> Result<SequenceDefinition, Report> {
    let mut json: serde_json::Value = serde_json::from_str(&describe(rel)?).map_err(unreadable)?;
    let Described { start, increment, min, max, cycle, .. } =
        serde_json::from_value(json.clone()).map_err(unreadable)?;
    let next = {
        let _acting = ActingAs::owner_of_the_catalogs();
        Spi::get_one::<i64>(&format!(
            "SELECT CASE WHEN is_called THEN last_value OPERATOR(pg_catalog.+) {increment}
                         ELSE last_value END FROM {}",
            super::qualified_name(rel)
        ))?
    };
    let bounds = SequenceBounds { first: start, increment, min, max, cycle };
    json["sequence_id"] = new_sequence_id()?.0.into();
    json["first"] = next.unwrap_or(start).into();
    json["block_size"] = bounds.default_block_size().into();
    serde_json::from_value(json).map_err(unreadable)
}

/// The sequences that belong to a table's columns.
pub fn owned_sequences(table: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let found = Spi::get_one_with_args::<Vec<pg_sys::Oid>>(
        "SELECT pg_catalog.array_agg(s) FROM shardman.owned_sequences($1) AS s",
        &[table.into()],
    )?;
    Ok(found.unwrap_or_default())
}

/// The managed sequences that belong to no managed table, with their owners,
/// for a node that joins.
pub fn standalone_sequences() -> Result<Vec<(String, SequenceDefinition)>, Report> {
    let found = {
        let _acting = ActingAs::owner_of_the_catalogs();
        Spi::connect(|client| -> Result<Vec<(String, pg_sys::Oid)>, Report> {
            let rows = client.select(
                "SELECT pg_catalog.pg_get_userbyid(c.relowner)::pg_catalog.text, m.rel
                 FROM shardman.managed_sequence AS m
                      JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) m.rel
                 WHERE m.rel OPERATOR(pg_catalog.<>) ALL (ARRAY(
                     SELECT s FROM (SELECT rel FROM shardman.sharded_table
                                    UNION ALL SELECT rel FROM shardman.replicated_table) AS t,
                                   shardman.owned_sequences(t.rel) AS s))
                 ORDER BY m.sequence_id",
                None,
                &[],
            )?;
            let pair = |row: pgrx::spi::SpiHeapTupleData<'_>| {
                Ok((
                    row.get::<String>(1)?.unwrap_or_default(),
                    row.get::<pg_sys::Oid>(2)?.unwrap_or(pg_sys::InvalidOid),
                ))
            };
            rows.map(pair).collect()
        })?
    };
    found.into_iter().map(|(owner, rel)| Ok((owner, definition_of_sequence(rel)?))).collect()
}

/// Enters a sequence of this node that is not managed yet, as a new one:
/// returns its definition, or `None` if it is managed.
pub fn register_new(rel: pg_sys::Oid) -> Result<Option<SequenceDefinition>, Report> {
    let described: Described = serde_json::from_str(&describe(rel)?).map_err(unreadable)?;
    if described.sequence_id.is_some() {
        return Ok(None);
    }
    let Described { start, increment, min, max, cycle, .. } = described;
    let bounds = SequenceBounds { first: start, increment, min, max, cycle };
    register_sequence(rel, new_sequence_id()?, start, bounds.default_block_size())?;
    definition_of_sequence(rel).map(Some)
}

/// Enters a sequence, or what is new of it.
pub fn register_sequence(
    rel: pg_sys::Oid,
    id: SequenceId,
    first: i64,
    block_size: u32,
) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    Spi::run_with_args(
        "INSERT INTO shardman.managed_sequence (sequence_id, rel, first_value, block_size)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (rel) DO UPDATE SET sequence_id = excluded.sequence_id,
             first_value = excluded.first_value, block_size = excluded.block_size",
        &[(id.0 as i64).into(), rel.into(), first.into(), (block_size as i32).into()],
    )?;
    // PostgreSQL's own cache would keep values of a block that is over.
    Spi::run_with_args(
        "UPDATE pg_catalog.pg_sequence SET seqcache = 1
         WHERE seqrelid OPERATOR(pg_catalog.=) $1 AND seqcache OPERATOR(pg_catalog.<>) 1",
        &[rel.into()],
    )?;
    // Plans that draw from it by PostgreSQL's function alone are void.
    // SAFETY: the relation exists.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(rel) };
    note_changed_tables()
}

/// A sequence's new life.
pub fn begin_sequence_anew(
    id: SequenceId,
    new: SequenceId,
    first: i64,
    block_size: u32,
) -> Result<(), Report> {
    match sequence_with_id(id)? {
        Some(rel) => register_sequence(rel, new, first, block_size),
        None => Err(Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            "a managed sequence does not exist on this node",
        )),
    }
}

/// The sequence of this node with this life.
pub fn sequence_with_id(id: SequenceId) -> Result<Option<pg_sys::Oid>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    Ok(Spi::get_one_with_args::<pg_sys::Oid>(
        "SELECT rel FROM (SELECT pg_catalog.max(rel) AS rel FROM shardman.managed_sequence
                          WHERE sequence_id OPERATOR(pg_catalog.=) $1) AS s",
        &[(id.0 as i64).into()],
    )?)
}

/// Removes the entries of sequences that are gone.
pub fn forget_dropped_sequences() -> Result<(), Report> {
    let gone = {
        let _acting = ActingAs::owner_of_the_catalogs();
        Spi::get_one::<bool>(
            "WITH gone AS (
                 DELETE FROM shardman.managed_sequence AS m
                 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_sequence AS s
                                   WHERE s.seqrelid OPERATOR(pg_catalog.=) m.rel)
                 RETURNING 1)
             SELECT EXISTS (SELECT FROM gone)",
        )?
    };
    if gone == Some(true) { note_changed_tables() } else { Ok(()) }
}

/// A new life: 63 random bits, so that it fits bigint.
pub fn new_sequence_id() -> Result<SequenceId, Report> {
    let mut bytes = [0u8; 8];
    // SAFETY: eight bytes of our own.
    let is_drawn = unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) };
    if !is_drawn {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            "could not generate a random sequence id",
        ));
    }
    Ok(SequenceId(u64::from_ne_bytes(bytes) >> 1))
}
