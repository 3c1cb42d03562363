//! Telling the other nodes, inside the user's transaction.

use cluster::NodeId;
use cluster::sharding::NodeCommand;
use pgrx::spi::quote_literal;

use crate::catalog::registry;
use crate::membership;
use crate::node_session::APPLY;
use crate::report::Report;
use crate::{schema_change, snapshot};

/// Has every other active node carry out a command. If it changes the schema
/// and the transaction has the right to do so, it is entered for those that are
/// down, too.
pub fn tell_all(command: &NodeCommand) -> Result<(), Report> {
    if command.is_schema_change() && schema_change::is_going_on() {
        return schema_change::tell_all(command);
    }
    let me = membership::my_identity()?.node_id;
    let registry = registry()?;
    let others = registry.members().iter().filter(|member| member.is_active && member.id != me);
    let others: Vec<_> = others.map(|member| member.id).collect();
    tell(&others, command)
}

/// Has some nodes carry out a command: sent to all of them, then waited for.
pub fn tell(nodes: &[NodeId], command: &NodeCommand) -> Result<(), Report> {
    tell_several(nodes, &[command])
}

/// The same with several commands, in one message.
pub fn tell_several(nodes: &[NodeId], commands: &[&NodeCommand]) -> Result<(), Report> {
    let statement = |command: &&NodeCommand| {
        let command = serde_json::to_string(command).unwrap_or_default();
        format!("SET {APPLY} TO {}", quote_literal(&command))
    };
    let statement = commands.iter().map(statement).collect::<Vec<_>>().join("; ");
    Ok(snapshot::allowing_ddl(|| fdw::session::execute_on_all(nodes, &statement))?)
}

/// The refusal of a node that holds partitions and is no member any more.
pub fn no_such_node(node: NodeId) -> Report {
    Report::new(
        pgrx::PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("partitions on node {node} are lost"),
    )
    .detail("The node was removed from the cluster by force, with its rows.")
    .hint("shardman.lost_parts lists them. Drop the table, or have the partitions made anew, empty, by shardman.recreate_lost_partitions(table).")
}
