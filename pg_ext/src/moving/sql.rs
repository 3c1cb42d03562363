//! The SQL-callable functions of moving.

use cluster::jobs::{JobKind, RebalanceGoal};
use cluster::sharding::LeafName;
use cluster::{LogIndex, NodeId};
use pgrx::prelude::*;

use super::wanted::{named_group, part_name, plan_moves};
use crate::catalog::{Member, Registry, registry};
use crate::jobs;
use crate::report::{OrRaise, Report};
use crate::worker::ask_log;

#[pg_extern(sql = false)]
fn move_part(
    part_name: Option<&str>,
    destination: Option<i32>,
    source: Option<i32>,
) -> Option<i64> {
    let (part_name, destination) = (part_name?, destination?);
    Some(submit_move(part_name, destination, source).or_raise())
}

fn submit_move(part_name: &str, destination: i32, source: Option<i32>) -> Result<i64, Report> {
    let registry = registry()?;
    let unknown = || {
        Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("partition \"{part_name}\" does not exist"),
        )
        .hint("Look at shardman.parts.")
    };
    let leaf = LeafName::parse(part_name).ok_or_else(unknown)?;
    let table = registry.table(leaf.table).ok_or_else(unknown)?;
    let placement = registry.placement(table.group_id).unwrap_or_default();
    let at = *placement.get(usize::from(leaf.partition.0)).ok_or_else(unknown)?;
    let leaves = super::leaves::leaves_of(table.group_id, leaf.partition)?;
    if !leaves.iter().any(|known| known.name == part_name) {
        return Err(unknown());
    }
    let destination = active(&registry, destination)?.id;
    if let Some(source) = source
        && NodeId(source.unsigned_abs()) != at
    {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("partition \"{part_name}\" is not on node {source}"),
        )
        .detail(format!("It is on node {at}.")));
    }
    if at == destination {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("partition \"{part_name}\" is on node {at} already"),
        ));
    }
    let id = jobs::submit(JobKind::MovePartition {
        part_name: part_name.to_owned(),
        group: table.group_id,
        partition: leaf.partition,
        source: at,
        destination,
    })?;
    Ok(id.0 as i64)
}

fn active(registry: &Registry, id: i32) -> Result<&Member, Report> {
    let unknown =
        Report::new(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT, format!("node {id} does not exist"));
    let member = u32::try_from(id).ok().and_then(|id| registry.member(NodeId(id)));
    let member = member.ok_or(unknown.hint("Look at shardman.nodes."))?;
    if !member.is_active {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("node {id} is not active"),
        ));
    }
    Ok(member)
}

#[pg_extern(sql = false)]
fn rebalance(relation: Option<&str>, by: Option<&str>) -> i64 {
    let submitted = goal(relation, by).and_then(submit_rebalance);
    submitted.or_raise()
}

#[pg_extern(sql = false)]
fn drain_node(id: i32) -> i64 {
    let submitted = || {
        let registry = registry()?;
        let node = active(&registry, id)?.id;
        let goal = RebalanceGoal { without: vec![node], ..RebalanceGoal::default() };
        // Refused now rather than by a job.
        plan_moves(&goal)?;
        submit_rebalance(goal)
    };
    submitted().or_raise()
}

/// Brings partitions to a node that has joined.
pub fn rebalance_all() -> Result<i64, Report> {
    submit_rebalance(RebalanceGoal { evens_out: true, ..RebalanceGoal::default() })
}

fn goal(relation: Option<&str>, by: Option<&str>) -> Result<RebalanceGoal, Report> {
    let by_size = match by {
        None | Some("count") => false,
        Some("size") => true,
        Some(other) => {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                format!("cannot rebalance by \"{other}\""),
            )
            .hint("Possible are \"count\" and \"size\"."));
        }
    };
    let group = relation.map(named_group).transpose()?;
    Ok(RebalanceGoal { group, by_size, evens_out: true, ..RebalanceGoal::default() })
}

/// One at a time: two plans made of the same placement would undo each other.
fn submit_rebalance(goal: RebalanceGoal) -> Result<i64, Report> {
    let (_, metadata) = ask_log(LogIndex(0), std::time::Duration::ZERO)?;
    let other = metadata
        .jobs()
        .all()
        .find(|job| matches!(job.kind, JobKind::Rebalance(_)) && !job.status.is_over());
    if let Some(other) = other {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_IN_USE,
            "the cluster is being rebalanced already",
        )
        .detail(format!("Job {} does it.", other.id))
        .hint("Wait for it with shardman.wait_cmd(), or stop it with shardman.cancel_cmd()."));
    }
    Ok(jobs::submit(JobKind::Rebalance(goal))?.0 as i64)
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn rebalance_plan(
    relation: Option<&str>,
    by: Option<&str>,
) -> TableIterator<
    'static,
    (
        name!(part_name, String),
        name!(source, i32),
        name!(destination, i32),
        name!(bytes, i64),
        name!(reason, String),
    ),
> {
    let rows = || -> Result<Vec<_>, Report> {
        let goal = goal(relation, by)?;
        let moves = plan_moves(&goal)?;
        let mut rows = Vec::new();
        for one in moves {
            let registry = registry()?;
            let held = |node: NodeId| {
                let placement = registry.placement(one.group).unwrap_or_default();
                placement.iter().filter(|at| **at == node).count()
            };
            let reason = match goal.by_size {
                true => {
                    format!("node {} holds more bytes than node {}", one.source, one.destination)
                }
                false => format!(
                    "node {} holds {} partitions of the group, node {} holds {}",
                    one.source,
                    held(one.source),
                    one.destination,
                    held(one.destination)
                ),
            };
            rows.push((
                part_name(one.group, one.partition)?,
                one.source.0 as i32,
                one.destination.0 as i32,
                one.bytes as i64,
                reason,
            ));
        }
        Ok(rows)
    };
    TableIterator::new(rows().or_raise())
}
