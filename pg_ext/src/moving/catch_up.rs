//! Applying to the copy what has happened on the source since its snapshot.

use cluster::rebalance::{
    CaughtUp, Change, ChangesAsSql, CopiedSnapshot, Lsn, Malformed, Relocation, Statement, decode,
};
use cluster::sharding::MOVING_SCHEMA;
use pgrx::prelude::*;

use super::destination::{IS_IT, evict_others, key};
use super::leaves::{Leaf, find, leaves, owner_of};
use crate::catalog::ActingAs;
use crate::report::Report;

/// Changes of one round, and those of the transaction that exceeds it.
const CHANGES_TOGETHER: &str = "20000";

/// One round.
pub fn catch_up(relocation: &Relocation) -> Result<CaughtUp, Report> {
    let leaves = leaves(relocation)?;
    let (snapshot, applied) = {
        let _acting = ActingAs::owner_of_the_catalogs();
        for leaf in &leaves {
            if let Some(table) = find(MOVING_SCHEMA, &leaf.name) {
                evict_others(table)?;
            }
        }
        state(relocation)?
    };
    let snapshot = CopiedSnapshot::parse(&snapshot).map_err(|_| damaged("snapshot"))?;
    let source = fdw::session::for_node(relocation.source)?;
    let ask = |sql: &str, parameters: &[Option<&str>]| {
        let _acting = ActingAs::owner_of_the_catalogs();
        source.query(sql, parameters)
    };
    let slot = relocation.name();
    let applied_text = applied.to_string();
    let until = ask("SELECT shardman.move_forward($1, $2)", &[Some(&slot), Some(&applied_text)])?;
    let until = until.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    let until: Lsn = until.unwrap_or_default().parse().map_err(|()| damaged("position"))?;
    let rows = ask(
        "SELECT data, lsn FROM shardman.move_changes($1, $2::pg_catalog.int4)",
        &[Some(&slot), Some(CHANGES_TOGETHER)],
    )?;
    // All tables of a group belong to owners of their own; what they evaluate is
    // checks and generated columns.
    let owners = leaves.iter().map(|leaf| owner_of(leaf.parent)).collect::<Result<Vec<_>, _>>()?;
    let owner = match owners.as_slice() {
        [first, rest @ ..] if rest.iter().all(|owner| owner == first) => Some(*first),
        _ => None,
    };
    set_up(&leaves)?;
    let mut round =
        Round { snapshot, applied, ends: applied, changes: 0, owner, owners: Vec::new() };
    round.owners = leaves.iter().map(|leaf| leaf.name.clone()).zip(owners).collect();
    round.run(&rows)?;
    // Nothing was left out: the position is behind everything that was read.
    let is_all = round.changes < 20_000;
    let reached = if is_all { round.ends.max(until) } else { round.ends };
    let _acting = ActingAs::owner_of_the_catalogs();
    let [group, partition] = key(relocation);
    let behind = if is_all { 0 } else { 1 };
    let now = ask("SELECT pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text", &[])?;
    let now = now.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    let now: Lsn = now.unwrap_or_default().parse().map_err(|()| damaged("position"))?;
    let behind = now.0.saturating_sub(reached.0).max(behind);
    Spi::run_with_args(
        &format!(
            "UPDATE shardman.move SET applied = $3::pg_catalog.pg_lsn, behind = $4 WHERE {IS_IT}"
        ),
        &[group, partition, reached.to_string().into(), (behind as i64).into()],
    )?;
    Ok(CaughtUp { applied: reached, behind, changes: round.changes })
}

fn state(relocation: &Relocation) -> Result<(String, Lsn), Report> {
    Spi::connect_mut(|client| {
        let query = format!(
            "SELECT snapshot, coalesce(applied, '0/0')::pg_catalog.text FROM shardman.move
             WHERE {IS_IT} FOR UPDATE"
        );
        let mut rows = client.update(&query, None, &key(relocation))?;
        let row = rows.next().ok_or_else(|| damaged("move"))?;
        let snapshot = row.get::<String>(1)?.ok_or_else(|| damaged("snapshot"))?;
        let applied = row.get::<String>(2)?.unwrap_or_default();
        Ok((snapshot, applied.parse().map_err(|()| damaged("position"))?))
    })
}

/// Literals mean what the source has printed, and operators of the columns' types
/// are found.
pub fn set_up(leaves: &[Leaf]) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let tables: Vec<_> = leaves.iter().filter_map(|leaf| find(MOVING_SCHEMA, &leaf.name)).collect();
    Spi::run_with_args(
        "SELECT pg_catalog.set_config('search_path', (
                    SELECT pg_catalog.string_agg(DISTINCT pg_catalog.quote_ident(n.nspname), ', ')
                    FROM pg_catalog.pg_attribute AS a
                         JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
                         JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
                    WHERE a.attrelid OPERATOR(pg_catalog.=) ANY ($1)), true),
                pg_catalog.set_config('datestyle', 'ISO', true),
                pg_catalog.set_config('intervalstyle', 'postgres', true),
                pg_catalog.set_config('extra_float_digits', '3', true),
                pg_catalog.set_config('bytea_output', 'hex', true),
                pg_catalog.set_config('standard_conforming_strings', 'on', true)",
        &[tables.into()],
    )?;
    // Keys that the source checks late.
    Ok(Spi::run("SET CONSTRAINTS ALL DEFERRED")?)
}

/// Transactions being applied.
struct Round {
    snapshot: CopiedSnapshot,
    applied: Lsn,
    ends: Lsn,
    changes: u64,
    owner: Option<pg_sys::Oid>,
    owners: Vec<(String, pg_sys::Oid)>,
}

impl Round {
    fn run(&mut self, rows: &[Vec<Option<String>>]) -> Result<(), Report> {
        let mut converter = ChangesAsSql::default();
        let mut is_wanted = false;
        let ends = commit_ends(rows)?;
        let mut transaction = 0;
        for row in rows {
            self.changes += 1;
            let change = read(row)?;
            match change {
                Change::Begin { xid } => {
                    let end = ends.get(transaction).copied().unwrap_or_default();
                    is_wanted = end > self.applied && !self.snapshot.has(xid);
                    transaction += 1;
                }
                Change::Commit { end } => {
                    if let Some(statement) = converter.finish() {
                        self.execute(&statement)?;
                    }
                    self.ends = self.ends.max(end);
                }
                // Relations are told once, in whichever transaction is the first.
                change if is_wanted || matches!(change, Change::Relation(_)) => {
                    for statement in converter.take(change).map_err(malformed)? {
                        self.execute(&statement)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn execute(&self, statement: &Statement) -> Result<(), Report> {
        let owner = self.owner.or_else(|| {
            let target = |name: &str| {
                let quoted = cluster::sharding::quote_identifier(name);
                statement.sql.contains(&format!("{MOVING_SCHEMA}.{quoted}"))
            };
            self.owners.iter().find(|(name, _)| target(name)).map(|(_, owner)| *owner)
        });
        let owner = owner.ok_or_else(|| damaged("owner"))?;
        let _acting = ActingAs::user(owner);
        let changed = Spi::connect_mut(|client| -> Result<usize, Report> {
            Ok(client.update(&statement.sql, None, &[])?.len())
        })?;
        match statement.rows {
            Some(expected) if expected != changed as u64 => Err(Report::new(
                PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
                "the copy of a partition differs from the partition",
            )
            .detail(format!("A change of {expected} rows found {changed}."))),
            _ => Ok(()),
        }
    }
}

/// Where each transaction ends, in order.
fn commit_ends(rows: &[Vec<Option<String>>]) -> Result<Vec<Lsn>, Report> {
    let mut ends = Vec::new();
    for row in rows {
        // Only the first byte decides; commits are short.
        let is_commit =
            row.first().and_then(Option::as_deref).is_some_and(|d| d.starts_with("\\x43"));
        if is_commit && let Change::Commit { end } = read(row)? {
            ends.push(end);
        }
    }
    Ok(ends)
}

fn read(row: &[Option<String>]) -> Result<Change, Report> {
    let text = row.first().and_then(Option::as_deref).unwrap_or_default();
    let digits = text.strip_prefix("\\x").ok_or_else(|| damaged("change"))?.as_bytes();
    let digit = |byte: u8| (byte as char).to_digit(16).map(|d| d as u8);
    let bytes = digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?));
    let bytes = bytes.collect::<Option<Vec<u8>>>().ok_or_else(|| damaged("change"))?;
    decode(&bytes).map_err(malformed)
}

fn malformed(error: Malformed) -> Report {
    damaged("change").detail(error.to_string())
}

fn damaged(what: &str) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        format!("could not read the {what} of a move"),
    )
}
