//! Partitions that were lost with a node: it was removed from the cluster while
//! it held them. They stay in the shard map, so that whoever needs their rows is
//! told, until they are made anew, empty.

use std::collections::BTreeMap;

use cluster::rebalance::Relocation;
use cluster::sharding::NodeCommand;
use cluster::{NodeId, PartitionNumber, TableId};
use pgrx::prelude::*;

use super::destination::make_leaf;
use super::leaves::leaves;
use super::switch::take_over;
use crate::catalog::{ActingAs, move_partition, qualified_name, registry};
use crate::ddl::{OwnWork, enforce_from_now_on, lock_ddl};
use crate::membership::my_identity;
use crate::report::{OrRaise, Report};
use crate::schema_change;

/// For a superuser: gives every lost partition of a table's colocation group to
/// a node. Returns how many there were.
#[pg_extern(sql = false)]
fn recreate_lost_partitions(rel: pg_sys::Oid) -> i32 {
    recreate_all(rel).or_raise()
}

fn recreate_all(rel: pg_sys::Oid) -> Result<i32, Report> {
    lock_ddl()?;
    let Some(table) = registry()?.table_of(rel).map(|table| table.group_id) else {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("{} is not a sharded table", qualified_name(rel)),
        ));
    };
    let lost = lost_partitions(table)?;
    for relocation in &lost {
        apply(relocation)?;
        schema_change::tell_all(&NodeCommand::RecreatePartition(*relocation))?;
    }
    Ok(i32::try_from(lost.len()).unwrap_or(i32::MAX))
}

/// Each with the node that holds the fewest partitions of the group.
fn lost_partitions(group: TableId) -> Result<Vec<Relocation>, Report> {
    let registry = registry()?;
    let active = registry.members().iter().filter(|member| member.is_active);
    let mut load: BTreeMap<NodeId, usize> = active.map(|member| (member.id, 0)).collect();
    let placement = registry.placement(group).unwrap_or_default();
    for node in placement {
        load.entry(*node).and_modify(|count| *count += 1);
    }
    let mut lost = Vec::new();
    for (number, source) in (0u16..).zip(placement) {
        if registry.member(*source).is_some() {
            continue;
        }
        let least = load.iter_mut().min_by_key(|(node, count)| (**count, **node));
        let Some((destination, count)) = least else { break };
        *count += 1;
        let (partition, destination) = (PartitionNumber(number), *destination);
        lost.push(Relocation { job: 0, group, partition, source: *source, destination });
    }
    Ok(lost)
}

/// This node's part in one of them.
pub fn apply(relocation: &Relocation) -> Result<(), Report> {
    let _own_work = OwnWork::begin();
    let _acting = ActingAs::owner_of_the_catalogs();
    if my_identity()?.node_id == relocation.destination {
        let leaves = leaves(relocation)?;
        for leaf in &leaves {
            make_leaf(leaf)?;
            take_over(leaf)?;
        }
        let partition = relocation.partition.0;
        leaves.iter().try_for_each(|leaf| enforce_from_now_on(leaf.parent, partition))?;
    }
    move_partition(relocation)
}
