//! Who may write and read copies: a node that the metadata log has as down has
//! missed writes, and works with others again only when it has caught up.

use cluster::NodeId;
use pgrx::prelude::*;

use super::apply::has_other_referrers;
use crate::catalog::{loaded_registry, qualified_name, registry};
use crate::membership::{my_identity, my_identity_if_any};
use crate::report::Report;

/// Refuses the work of a node that is marked down, or on one that is.
pub fn check(coordinator: NodeId) -> Result<(), Report> {
    let registry = registry()?;
    let is_down = |node| registry.member(node).is_some_and(|member| member.is_down);
    let me = my_identity()?.node_id;
    match [coordinator, me].into_iter().find(|node| is_down(*node)) {
        None => Ok(()),
        Some(node) => Err(behind(node)),
    }
}

/// Whether this node is known to be down. Cheap, and raises nothing.
pub fn am_i_down() -> bool {
    let Some(registry) = loaded_registry() else { return false };
    let Ok(Some(identity)) = my_identity_if_any() else { return false };
    registry.member(identity.node_id).is_some_and(|member| member.is_down)
}

/// The refusal of what needs this node's copies.
pub fn behind(node: NodeId) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("the replicated tables of node {node} are not up to date"),
    )
    .detail("The metadata log has the node as down: it may have missed writes.")
    .hint("It catches up by itself; retry, or use another node. shardman.nodes shows the state of all nodes.")
}

/// Whether a member is marked down.
pub fn is_anyone_down() -> Result<bool, Report> {
    Ok(registry()?.members().iter().any(|member| member.is_down))
}

/// Refuses to take rows away that rows of sharded tables may refer to on a node
/// that is down: nobody can look.
pub fn check_referrers(rel: pg_sys::Oid) -> Result<(), Report> {
    let registry = registry()?;
    let Some(down) = registry.members().iter().find(|member| member.is_down) else {
        return Ok(());
    };
    if !has_other_referrers(rel)? {
        return Ok(());
    }
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!(
            "cannot delete rows of replicated table {} while node \"{}\" is down",
            qualified_name(rel),
            down.name
        ),
    )
    .detail("Sharded tables reference the table, and their rows on that node cannot be looked at.")
    .hint("Retry when the node is back."))
}
