//! What each node does in the distributed transactions of a move: its beginning,
//! its end, and the switch.
//!
//! In the switch the partition's table and its foreign table change places on
//! the source and on the destination; on all nodes the shard map changes. Whoever
//! used the partition waits for it, or finds no table of that name and is told to
//! run the statement again; nobody finds an empty table.
#![allow(unsafe_code)]

use cluster::NodeId;
use cluster::rebalance::{MoveCommand, Relocation};
use cluster::sharding::{LEAF_SCHEMA, MOVING_SCHEMA, REMOTE_SCHEMA};
use pgrx::prelude::*;

use super::destination::{IS_IT, key};
use super::leaves::{Leaf, find, leaves, owner_of, role_name};
use super::row_triggers::RowTriggers;
use crate::catalog::{ActingAs, move_partition};
use crate::ddl::{Flip, OwnWork, enforce_from_now_on};
use crate::membership::my_identity;
use crate::report::Report;
use crate::schema_change;

/// Of the check that spares the switch a look at every row.
const BOUND: &str = "shardman_bound";

/// Carries out a command. The DDL lock of this node is held.
pub fn apply(command: &MoveCommand) -> Result<(), Report> {
    let _own_work = OwnWork::begin();
    let _acting = ActingAs::owner_of_the_catalogs();
    let me = my_identity()?.node_id;
    match command {
        MoveCommand::Register { relocation, after } => {
            after.map_or(Ok(()), schema_change::wait_for)?;
            register(relocation)
        }
        MoveCommand::Forget(relocation) => forget(relocation),
        MoveCommand::Lock { relocation, timeout_ms } => lock(relocation, *timeout_ms),
        MoveCommand::Switch(relocation) => switch(relocation, me),
    }
}

fn register(relocation: &Relocation) -> Result<(), Report> {
    let [group, partition] = key(relocation);
    // Waits for a move before this one that is not finished here.
    let at = Spi::get_one_with_args::<i32>(
        &format!("SELECT (SELECT node_id FROM shardman.placement WHERE {IS_IT} FOR UPDATE)"),
        &[group, partition],
    )?;
    if at != Some(relocation.source.0 as i32) {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!(
                "partition {} of group {} is not on node {}",
                relocation.partition, relocation.group, relocation.source
            ),
        )
        .hint("Look at shardman.parts."));
    }
    let [group, partition] = key(relocation);
    let other = Spi::get_one_with_args::<i64>(
        "INSERT INTO shardman.move AS m (group_id, pnum, job_id, source, destination)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (group_id, pnum) DO UPDATE SET job_id = m.job_id
         RETURNING m.job_id",
        &[
            group,
            partition,
            relocation.job.into(),
            (relocation.source.0 as i32).into(),
            (relocation.destination.0 as i32).into(),
        ],
    )?;
    match other {
        Some(job) if job != relocation.job => Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_IN_USE,
            format!(
                "partition {} of group {} is being moved already",
                relocation.partition, relocation.group
            ),
        )
        .detail(format!("Job {job} does it."))),
        _ => Ok(()),
    }
}

fn forget(relocation: &Relocation) -> Result<(), Report> {
    let [group, partition] = key(relocation);
    Ok(Spi::run_with_args(
        &format!("DELETE FROM shardman.move WHERE {IS_IT} AND job_id OPERATOR(pg_catalog.=) $3"),
        &[group, partition, relocation.job.into()],
    )?)
}

/// Parents first, as every statement does, then leaves: those are all that
/// statements of other nodes lock.
fn lock(relocation: &Relocation, timeout_ms: u32) -> Result<(), Report> {
    Spi::run(&format!("SET LOCAL lock_timeout = '{timeout_ms}ms'"))?;
    let leaves = leaves(relocation)?;
    let mode = pg_sys::AccessExclusiveLock as i32;
    for rel in leaves.iter().map(|leaf| leaf.parent).chain(leaves.iter().map(|leaf| leaf.oid)) {
        // SAFETY: waits, answering to cancel and lock_timeout.
        unsafe { pg_sys::LockRelationOid(rel, mode) };
    }
    Ok(())
}

fn switch(relocation: &Relocation, me: NodeId) -> Result<(), Report> {
    let leaves = leaves(relocation)?;
    if me == relocation.source {
        give_away(&leaves)?;
    } else if me == relocation.destination {
        leaves.iter().try_for_each(take_over)?;
        let partition = relocation.partition.0;
        leaves.iter().try_for_each(|leaf| enforce_from_now_on(leaf.parent, partition))?;
    } else {
        // Plans that were made of where it was.
        for leaf in leaves {
            // SAFETY: the relation exists.
            unsafe { pg_sys::CacheInvalidateRelcacheByRelid(leaf.oid) };
        }
    }
    move_partition(relocation)?;
    forget(relocation)
}

/// The tables go, together, since they may have foreign keys to each other, and
/// foreign tables take their places. All their rows are elsewhere, as of now.
fn give_away(leaves: &[Leaf]) -> Result<(), Report> {
    let bounds = leaves.iter().map(bound_of).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<_> = leaves.iter().map(|leaf| leaf.within(LEAF_SCHEMA)).collect();
    Spi::run(&format!("DROP TABLE {}", names.join(", ")))?;
    leaves.iter().zip(bounds).try_for_each(|(leaf, bound)| stand_in(leaf, &bound))
}

fn stand_in(leaf: &Leaf, bound: &str) -> Result<(), Report> {
    let parent = leaf.parent_name();
    let owner = role_name(owner_of(leaf.parent)?);
    let triggers = RowTriggers::hide(leaf.parent)?;
    let flip = Flip::over(leaf.parent)?;
    let foreign = leaf.within(REMOTE_SCHEMA);
    Spi::run(&format!(
        "CREATE FOREIGN TABLE {foreign} PARTITION OF {parent} {bound} SERVER shardman"
    ))?;
    flip.back()?;
    triggers.back()?;
    Ok(Spi::run(&format!("ALTER FOREIGN TABLE {foreign} OWNER TO {owner}"))?)
}

/// The foreign table goes, the copy takes its place.
pub fn take_over(leaf: &Leaf) -> Result<(), Report> {
    let Some(oid) = find(MOVING_SCHEMA, &leaf.name) else {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("the copy of partition {} is gone", leaf.name),
        ));
    };
    let condition = Spi::get_one_with_args::<String>(
        "SELECT pg_catalog.pg_get_partition_constraintdef($1)",
        &[leaf.oid.into()],
    )?;
    let condition = condition.unwrap_or_default();
    let (parent, bound) = (leaf.parent_name(), bound_of(leaf)?);
    let (copy, table) = (leaf.within(MOVING_SCHEMA), leaf.within(LEAF_SCHEMA));
    Spi::run(&format!("DROP FOREIGN TABLE {}", leaf.within(REMOTE_SCHEMA)))?;
    Spi::run(&format!("ALTER TABLE {copy} SET SCHEMA {LEAF_SCHEMA}"))?;
    claim_bound(&table, oid, &condition)?;
    let flip = Flip::over_foreign_keys(leaf.parent)?;
    Spi::run(&format!("ALTER TABLE {parent} ATTACH PARTITION {table} {bound}"))?;
    flip.back()?;
    Ok(Spi::run(&format!("ALTER TABLE {table} DROP CONSTRAINT {BOUND}"))?)
}

/// A check that the rows are known to pass: they come from a partition of the same
/// bound, where it was checked. It spares ATTACH a look at each.
fn claim_bound(table: &str, oid: pg_sys::Oid, condition: &str) -> Result<(), Report> {
    Spi::run(&format!("ALTER TABLE {table} ADD CONSTRAINT {BOUND} CHECK ({condition}) NOT VALID"))?;
    Spi::run_with_args(
        "UPDATE pg_catalog.pg_constraint SET convalidated = true
         WHERE conrelid OPERATOR(pg_catalog.=) $1 AND conname OPERATOR(pg_catalog.=) $2::pg_catalog.name",
        &[oid.into(), BOUND.into()],
    )?;
    // SAFETY: the table exists and is locked by the ALTER TABLE.
    unsafe {
        pg_sys::CacheInvalidateRelcacheByRelid(oid);
        pg_sys::CommandCounterIncrement();
    }
    Ok(())
}

fn bound_of(leaf: &Leaf) -> Result<String, Report> {
    let bound = Spi::get_one_with_args::<String>(
        "SELECT pg_catalog.pg_get_expr(relpartbound, oid) FROM pg_catalog.pg_class
         WHERE oid OPERATOR(pg_catalog.=) $1",
        &[leaf.oid.into()],
    )?;
    Ok(bound.unwrap_or_default())
}
