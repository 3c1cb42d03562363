//! Telling the other nodes, inside the user's transaction.

use cluster::NodeId;
use cluster::sharding::NodeCommand;
use pgrx::spi::quote_literal;

use crate::catalog::registry;
use crate::membership;
use crate::node_session::APPLY;
use crate::report::Report;
use crate::snapshot;

/// The active node with the lowest id, unless it is this one.
pub fn lowest_active() -> Result<Option<NodeId>, Report> {
    let me = membership::my_identity()?.node_id;
    let registry = registry()?;
    let lowest = registry.members().iter().find(|member| member.is_active);
    Ok(lowest.map(|member| member.id).filter(|id| *id != me))
}

/// Has every other active node carry out a command.
pub fn tell_all(command: &NodeCommand) -> Result<(), Report> {
    let me = membership::my_identity()?.node_id;
    let registry = registry()?;
    let others = registry.members().iter().filter(|member| member.is_active && member.id != me);
    let others: Vec<_> = others.map(|member| member.id).collect();
    tell(&others, command)
}

/// Has some nodes carry out a command: sent to all of them, then waited for.
pub fn tell(nodes: &[NodeId], command: &NodeCommand) -> Result<(), Report> {
    let command = serde_json::to_string(command).unwrap_or_default();
    let statement = format!("SET {APPLY} TO {}", quote_literal(&command));
    Ok(snapshot::allowing_ddl(|| fdw::session::execute_on_all(nodes, &statement))?)
}

/// The refusal of a node that is no member.
pub fn no_such_node(node: NodeId) -> Report {
    Report::new(
        pgrx::PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        format!("node {node} does not exist"),
    )
    .hint("Look at shardman.nodes and shardman.parts.")
}
