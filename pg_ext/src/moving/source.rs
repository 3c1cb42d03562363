//! The source's part of a move: a publication of the leaves, a slot that keeps
//! the changes, and what the leaves look like.
#![allow(unsafe_code)]

use cluster::rebalance::{
    Index, LeafDescription, Lsn, ObservedSource, Relocation, SourceDescription,
};
use cluster::sharding::LEAF_SCHEMA;
use pgrx::prelude::*;
use pgrx::spi::quote_literal;

use super::leaves::{Leaf, find, leaves};
use crate::catalog::ActingAs;
use crate::report::{OrRaise, Report};

/// The bound of waits for locks on leaves, outside of the switch.
const LOCK_TIMEOUT: &str = "2s";
/// Between two looks at transactions that are about to end.
const PAUSE_MS: i64 = 20;

/// What there is.
pub fn observe(relocation: &Relocation) -> Result<ObservedSource, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let name = relocation.name();
    let has = |query: &str| -> Result<bool, Report> {
        Ok(Spi::get_one_with_args::<bool>(query, &[name.as_str().into()])? == Some(true))
    };
    Ok(ObservedSource {
        has_publication: has("SELECT EXISTS (SELECT FROM pg_catalog.pg_publication
             WHERE pubname OPERATOR(pg_catalog.=) $1::pg_catalog.name)")?,
        has_slot: has("SELECT EXISTS (SELECT FROM pg_catalog.pg_replication_slots
             WHERE slot_name OPERATOR(pg_catalog.=) $1::pg_catalog.name
               AND wal_status OPERATOR(pg_catalog.<>) 'lost')")?,
    })
}

/// Publishes the leaves' changes. A leaf without a primary key tells its rows
/// apart by all columns for the time.
pub fn publish(relocation: &Relocation) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    Spi::run(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))?;
    let leaves = leaves(relocation)?;
    for leaf in &leaves {
        if !has_key(leaf.oid)? {
            let name = leaf.within(LEAF_SCHEMA);
            Spi::run(&format!("ALTER TABLE {name} REPLICA IDENTITY FULL"))?;
        }
    }
    let names: Vec<_> = leaves.iter().map(|leaf| leaf.within(LEAF_SCHEMA)).collect();
    let name = relocation.name();
    Ok(Spi::run(&format!("CREATE PUBLICATION {name} FOR TABLE {}", names.join(", ")))?)
}

/// Whether PostgreSQL can tell the rows apart by the replica identity that a
/// table has by default.
fn has_key(leaf: pg_sys::Oid) -> Result<bool, Report> {
    let found = Spi::get_one_with_args::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_index
             WHERE indrelid OPERATOR(pg_catalog.=) $1 AND indisprimary AND indimmediate AND indisvalid)",
        &[leaf.into()],
    )?;
    Ok(found == Some(true))
}

/// Makes the slot. Waits until the transactions are over that were running.
pub fn make_slot(relocation: &Relocation) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let name = relocation.name();
    drop_slot(&name)?;
    select(&format!(
        "SELECT pg_catalog.pg_create_logical_replication_slot({}, 'pgoutput')",
        quote_literal(&name)
    ))?;
    // A transaction whose commit record precedes the slot's start may still count
    // as running for a moment, or for as long as a standby takes. The slot will not
    // bring it; so the copy must not begin before it is over.
    let running = Spi::get_one::<Vec<String>>(
        "SELECT pg_catalog.array_agg(x::pg_catalog.text)
         FROM pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) AS x",
    )?;
    for xid in running.unwrap_or_default() {
        while Spi::get_one_with_args::<bool>(
            "SELECT pg_catalog.pg_xact_status($1::pg_catalog.xid8) OPERATOR(pg_catalog.=) 'in progress'",
            &[xid.as_str().into()],
        )? == Some(true)
        {
            sleep(PAUSE_MS);
        }
    }
    Ok(())
}

/// Runs a query in a transaction that has to stay without an id: a slot cannot be
/// made in one that writes.
fn select(query: &str) -> Result<(), Report> {
    Ok(Spi::connect(|client| client.select(query, None, &[]).map(drop))?)
}

/// Sleeps; answers to cancel.
pub fn sleep(milliseconds: i64) {
    // SAFETY: this process's latch.
    unsafe {
        let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, milliseconds, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}

/// What is to be moved.
pub fn describe(relocation: &Relocation) -> Result<SourceDescription, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let leaves = leaves(relocation)?.into_iter().map(describe_leaf);
    Ok(SourceDescription { leaves: leaves.collect::<Result<_, _>>()? })
}

fn describe_leaf(leaf: Leaf) -> Result<LeafDescription, Report> {
    let (bytes, rows) = Spi::get_two_with_args::<i64, i64>(
        "SELECT pg_catalog.pg_table_size($1),
                (SELECT GREATEST(reltuples, 0)::pg_catalog.int8 FROM pg_catalog.pg_class
                 WHERE oid OPERATOR(pg_catalog.=) $1)",
        &[leaf.oid.into()],
    )?;
    let indexes = Spi::connect(|client| -> Result<Vec<Index>, Report> {
        let rows = client.select(
            "SELECT c.relname::pg_catalog.text, pg_catalog.pg_get_constraintdef(k.oid), i.indisunique,
                    pg_catalog.substr(pg_catalog.pg_get_indexdef(c.oid),
                        pg_catalog.length('CREATE ' || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END
                                          || 'INDEX ' || pg_catalog.quote_ident(c.relname)) + 1)
             FROM pg_catalog.pg_index AS i
                  JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
                  LEFT JOIN pg_catalog.pg_constraint AS k ON k.conindid OPERATOR(pg_catalog.=) i.indexrelid
                       AND k.conrelid OPERATOR(pg_catalog.=) i.indrelid
                       AND k.contype OPERATOR(pg_catalog.=) ANY ('{p,u,x}')
             WHERE i.indrelid OPERATOR(pg_catalog.=) $1 AND i.indisvalid
             ORDER BY k.oid NULLS LAST, c.relname",
            None,
            &[leaf.oid.into()],
        )?;
        rows.map(|row| {
            Ok(Index {
                name: row.get(1)?.unwrap_or_default(),
                constraint: row.get(2)?,
                is_unique: row.get(3)?.unwrap_or_default(),
                definition: row.get(4)?.unwrap_or_default(),
            })
        })
        .collect()
    })?;
    Ok(LeafDescription {
        name: leaf.name,
        bytes: bytes.unwrap_or_default(),
        rows: rows.unwrap_or_default(),
        indexes,
        options: leaf.options,
    })
}

/// Forces what was committed before to disk, where the slot finds it, and
/// returns the position of its end.
pub fn flush() -> Result<Lsn, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let lsn = Spi::get_one::<String>(
        "SELECT pg_catalog.pg_logical_emit_message(false, 'shardman', '')::pg_catalog.text",
    )?;
    let lsn: Lsn = lsn.unwrap_or_default().parse().map_err(|()| unexpected_position())?;
    // SAFETY: the end of a record that was just inserted.
    unsafe { pg_sys::XLogFlush(lsn.0) };
    Ok(lsn)
}

fn unexpected_position() -> Report {
    Report::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "could not read a WAL position")
}

/// Lets the slot forget what was applied, and makes it possible for decoding to
/// begin near the end of the WAL. Returns a position: everything before it is
/// among the changes that can be read now.
#[pg_extern(sql = false)]
fn move_forward(slot: &str, applied: &str) -> String {
    forward(slot, applied).or_raise().to_string()
}

fn forward(slot: &str, applied: &str) -> Result<Lsn, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    Spi::run_with_args(
        "SELECT pg_catalog.pg_replication_slot_advance(slot_name, $2::pg_catalog.pg_lsn)
         FROM pg_catalog.pg_replication_slots
         WHERE slot_name OPERATOR(pg_catalog.=) $1::pg_catalog.name
           AND confirmed_flush_lsn OPERATOR(pg_catalog.<) $2::pg_catalog.pg_lsn",
        &[slot.into(), applied.into()],
    )?;
    // SAFETY: writes a WAL record, as the background writer does from time to time.
    unsafe { pg_sys::LogStandbySnapshot() };
    flush()
}

/// Removes publication and slot, and the replica identity of the leaves that are
/// still here.
pub fn clean_up(relocation: &Relocation) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let name = relocation.name();
    drop_slot(&name)?;
    Spi::run(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))?;
    if observe(relocation)?.has_publication {
        Spi::run(&format!("DROP PUBLICATION {name}"))?;
    }
    for leaf in leaves(relocation)? {
        let is_full = Spi::get_one_with_args::<bool>(
            "SELECT relreplident OPERATOR(pg_catalog.=) 'f' FROM pg_catalog.pg_class
             WHERE oid OPERATOR(pg_catalog.=) $1",
            &[leaf.oid.into()],
        )?;
        if is_full == Some(true) && find(LEAF_SCHEMA, &leaf.name).is_some() {
            let leaf = leaf.within(LEAF_SCHEMA);
            Spi::run(&format!("ALTER TABLE {leaf} REPLICA IDENTITY DEFAULT"))?;
        }
    }
    Ok(())
}

/// Drops a slot if it is there, together with whoever reads it.
fn drop_slot(name: &str) -> Result<(), Report> {
    let literal = quote_literal(name);
    for _ in 0..100 {
        let query = format!(
            "SELECT active_pid FROM pg_catalog.pg_replication_slots
             WHERE slot_name OPERATOR(pg_catalog.=) {literal} AND active_pid IS NOT NULL"
        );
        let reader = Spi::connect(|client| -> Result<Option<i32>, Report> {
            Ok(client.select(&query, None, &[])?.next().and_then(|row| row.get(1).ok().flatten()))
        })?;
        let Some(reader) = reader else { break };
        select(&format!("SELECT pg_catalog.pg_terminate_backend({reader})"))?;
        sleep(PAUSE_MS);
    }
    select(&format!(
        "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots
         WHERE slot_name OPERATOR(pg_catalog.=) {literal}"
    ))
}
