//! The copy: an INSERT … SELECT over the foreign leaf, slowed down if asked to.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::time::{Duration, Instant};

use cluster::rebalance::{CopiedSnapshot, Relocation};
use cluster::sharding::{MOVING_SCHEMA, REMOTE_SCHEMA};
use pgrx::prelude::*;

use super::destination::{IS_IT, evict_others, key};
use super::leaves::{Leaf, find, leaves, owner_of};
use super::source::sleep;
use crate::catalog::ActingAs;
use crate::report::Report;
use crate::settings;

/// Rows between two looks at the size and the clock.
const ROWS_BETWEEN: u64 = 512;
/// One sleep at most, in milliseconds: a cancel need not wait longer.
const LONGEST_SLEEP: u64 = 1000;

/// A copy under way.
struct Pace {
    leaf: pg_sys::Oid,
    rows: u64,
    bytes_before: u64,
    rate: u64,
    began: Instant,
}

thread_local! {
    static PACE: RefCell<Option<Pace>> = const { RefCell::new(None) };
}

/// Copies all rows within the running transaction, which is REPEATABLE READ, and
/// notes the snapshot they were read with.
pub fn copy(relocation: &Relocation) -> Result<(), Report> {
    let leaves = leaves(relocation)?;
    let mut tables = Vec::new();
    {
        let _acting = ActingAs::owner_of_the_catalogs();
        for leaf in &leaves {
            let table = find(MOVING_SCHEMA, &leaf.name).ok_or_else(|| gone(leaf))?;
            evict_others(table)?;
            Spi::run(&format!(
                "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE",
                leaf.within(MOVING_SCHEMA)
            ))?;
            tables.push(table);
        }
    }
    let source = fdw::session::for_node(relocation.source)?;
    let snapshot = source.query("SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text", &[])?;
    let snapshot = snapshot.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    let snapshot = snapshot.unwrap_or_default();
    CopiedSnapshot::parse(&snapshot).map_err(|error| {
        Report::new(
            PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
            "could not read the source's snapshot",
        )
        .detail(error.to_string())
    })?;
    let mut pace = Pace {
        leaf: pg_sys::InvalidOid,
        rows: 0,
        bytes_before: 0,
        rate: settings::move_rate(),
        began: Instant::now(),
    };
    for (leaf, table) in leaves.iter().zip(tables) {
        pace.leaf = table;
        PACE.set(Some(pace));
        copy_leaf(leaf, table)?;
        pace = PACE.take().ok_or_else(|| gone(leaf))?;
        pace.bytes_before += size_of(table);
    }
    let _acting = ActingAs::owner_of_the_catalogs();
    let [group, partition] = key(relocation);
    Ok(Spi::run_with_args(
        &format!("UPDATE shardman.move SET snapshot = $3, rows_copied = $4 WHERE {IS_IT}"),
        &[group, partition, snapshot.into(), (pace.rows as i64).into()],
    )?)
}

fn copy_leaf(leaf: &Leaf, table: pg_sys::Oid) -> Result<(), Report> {
    // Checks and generated columns are the owner's code.
    let owner = owner_of(leaf.parent)?;
    let columns = {
        let _acting = ActingAs::owner_of_the_catalogs();
        Spi::get_one_with_args::<String>(
            "SELECT pg_catalog.string_agg(pg_catalog.quote_ident(attname), ', ' ORDER BY attnum)
             FROM pg_catalog.pg_attribute
             WHERE attrelid OPERATOR(pg_catalog.=) $1 AND attnum OPERATOR(pg_catalog.>) 0
               AND NOT attisdropped AND attgenerated OPERATOR(pg_catalog.=) ''",
            &[table.into()],
        )?
        .unwrap_or_default()
    };
    let _acting = ActingAs::user(owner);
    // SAFETY: reports to a slot of this backend's own; the sum of all leaves.
    unsafe {
        pg_sys::pgstat_progress_start_command(
            pg_sys::ProgressCommandType::PROGRESS_COMMAND_COPY,
            table,
        );
    }
    let sql = format!(
        "INSERT INTO {} ({columns}) SELECT {columns} FROM {} WHERE shardman.move_pace({})",
        leaf.within(MOVING_SCHEMA),
        leaf.within(REMOTE_SCHEMA),
        table.to_u32(),
    );
    Spi::run(&sql)?;
    // SAFETY: as above.
    unsafe { pg_sys::pgstat_progress_end_command() };
    Ok(())
}

/// Called for each row.
#[pg_extern(sql = false)]
fn move_pace(leaf: pg_sys::Oid) -> bool {
    let nap = PACE.with_borrow_mut(|pace| match pace {
        Some(pace) if pace.leaf == leaf => {
            pace.rows += 1;
            (pace.rows % ROWS_BETWEEN == 0).then_some((
                pace.rows,
                pace.rate,
                pace.began,
                pace.bytes_before,
            ))
        }
        _ => None,
    });
    let Some((rows, rate, began, bytes_before)) = nap else { return true };
    let bytes = bytes_before + size_of(leaf);
    // SAFETY: as in `copy_leaf`.
    unsafe {
        pg_sys::pgstat_progress_update_param(
            pg_sys::PROGRESS_COPY_TUPLES_PROCESSED as i32,
            rows as i64,
        );
        pg_sys::pgstat_progress_update_param(
            pg_sys::PROGRESS_COPY_BYTES_PROCESSED as i32,
            bytes as i64,
        );
    }
    if rate > 0 {
        let due = Duration::from_secs_f64(bytes as f64 / rate as f64);
        loop {
            let left = due.saturating_sub(began.elapsed()).as_millis() as u64;
            if left == 0 {
                break;
            }
            sleep(left.min(LONGEST_SLEEP) as i64);
        }
    }
    true
}

/// Bytes of a table's main file; its TOAST is not counted.
fn size_of(table: pg_sys::Oid) -> u64 {
    // SAFETY: the table is locked by this transaction.
    unsafe {
        let relation = pg_sys::RelationIdGetRelation(table);
        if relation.is_null() {
            return 0;
        }
        let blocks =
            pg_sys::RelationGetNumberOfBlocksInFork(relation, pg_sys::ForkNumber::MAIN_FORKNUM);
        pg_sys::RelationClose(relation);
        u64::from(blocks) * u64::from(pg_sys::BLCKSZ)
    }
}

fn gone(leaf: &Leaf) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        format!("the copy of partition {} is gone", leaf.name),
    )
}
