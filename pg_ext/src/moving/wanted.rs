//! What a rebalancing is to bring about, and the moves that it takes.

use std::collections::BTreeMap;

use cluster::jobs::RebalanceGoal;
use cluster::rebalance::{Balance, Group, PlannedMove, plan};
use cluster::{NodeId, PartitionNumber, TableId};
use pgrx::prelude::*;

use super::leaves::leaves_of;
use crate::catalog::{Registry, registry};
use crate::deadlock::Observers;
use crate::report::Report;

/// As the job has it.
pub type Wanted = RebalanceGoal;

/// The moves, from where partitions are now. In a transaction.
pub fn plan_moves(wanted: &Wanted) -> Result<Vec<PlannedMove>, Report> {
    crate::catalog::forget_registry();
    let registry = registry()?;
    let stay: Vec<NodeId> = registry
        .members()
        .iter()
        .filter(|member| member.is_active && !wanted.without.contains(&member.id))
        .map(|member| member.id)
        .collect();
    if stay.is_empty() {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "there is no node that could take the partitions",
        ));
    }
    let sizes = sizes()?;
    let groups = groups(wanted, &registry);
    let groups: Vec<Group> = groups
        .into_iter()
        .map(|id| {
            let placement = registry.placement(id).unwrap_or_default();
            let partitions = (0u16..).zip(placement).map(|(number, node)| {
                (*node, sizes.get(&(id, PartitionNumber(number))).copied().unwrap_or(0))
            });
            Group { id, partitions: partitions.collect() }
        })
        .collect();
    if !wanted.without.is_empty() && !wanted.evens_out {
        return Ok(drained(&groups, &stay, wanted));
    }
    let balance = if wanted.by_size { Balance::Size } else { Balance::Count };
    Ok(plan(&groups, &stay, balance))
}

/// Only what has to leave, to where there is least.
fn drained(groups: &[Group], stay: &[NodeId], wanted: &Wanted) -> Vec<PlannedMove> {
    let balance = if wanted.by_size { Balance::Size } else { Balance::Count };
    let moves = plan(groups, stay, balance);
    moves.into_iter().filter(|one| wanted.without.contains(&one.source)).collect()
}

/// The groups that it is about, by their ids.
fn groups(wanted: &Wanted, registry: &Registry) -> Vec<TableId> {
    let mut groups: Vec<_> = match wanted.group {
        Some(group) => vec![group],
        None => registry.tables().iter().map(|table| table.group_id).collect(),
    };
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// Bytes of each partition of each group, with indexes, as their nodes say.
fn sizes() -> Result<BTreeMap<(TableId, PartitionNumber), u64>, Report> {
    let all =
        Observers::default().ask_all("SELECT shardman.local_part_sizes()::pg_catalog.text")?;
    if let Some(trouble) = all.troubles.first() {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_CANNOT_CONNECT_NOW,
            "could not learn the sizes of all partitions",
        )
        .detail(trouble.clone()));
    }
    let mut sizes = BTreeMap::new();
    for (_, answer) in all.answers {
        let rows: Vec<(u64, u16, u64)> = serde_json::from_str(&answer).map_err(|error| {
            Report::new(
                PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
                "could not read a node's answer",
            )
            .detail(error.to_string())
        })?;
        for (group, partition, bytes) in rows {
            sizes.insert((TableId(group), PartitionNumber(partition)), bytes);
        }
    }
    Ok(sizes)
}

/// What `shardman.parts` calls a partition of the group's oldest table.
pub fn part_name(group: TableId, partition: PartitionNumber) -> Result<String, Report> {
    Ok(leaves_of(group, partition)?.into_iter().next().map(|leaf| leaf.name).unwrap_or_default())
}

/// The sharded table that a user names.
pub fn named_group(relation: &str) -> Result<TableId, Report> {
    let rel = Spi::get_one_with_args::<pg_sys::Oid>(
        "SELECT $1::pg_catalog.regclass::pg_catalog.oid",
        &[relation.into()],
    )?;
    let registry = registry()?;
    let table = rel.and_then(|rel| registry.table_of(rel));
    table.map(|table| table.group_id).ok_or_else(|| {
        Report::new(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("\"{relation}\" is not a sharded table"),
        )
        .hint("Look at shardman.sharded_tables.")
    })
}
