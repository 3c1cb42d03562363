//! Having the other nodes do what this one has done.
#![allow(unsafe_code)]

use cluster::NodeId;
use cluster::metadata::DdlStep;
use cluster::sharding::NodeCommand;
use pgrx::prelude::*;

use super::{applied, transaction};
use crate::catalog::{Member, registry};
use crate::lists::text;
use crate::membership::{self, current_user};
use crate::peers;
use crate::report::Report;

/// Has every other node that takes part carry out a command, and enters it for
/// those that do not.
pub fn tell_all(command: &NodeCommand) -> Result<(), Report> {
    let registry = registry()?;
    let missing = missing_members()?;
    if command.needs_every_node()
        && let Some(node) = missing.first()
    {
        return Err(node_missing(registry.member(*node), *node));
    }
    let mut present = others(registry.members())?;
    present.retain(|node| !missing.contains(node));

    let begun = transaction::with(|change| (change.has_begun(), change.token, change.after));
    let Some((has_begun, token, after)) = begun else {
        return Err(super::token::unexpected("the transaction holds no token".to_owned()));
    };
    if has_begun {
        peers::tell(&present, command).map_err(advise)?;
    } else {
        applied::mark(token)?;
        let begin = NodeCommand::BeginDdl { token, after, now: transaction_start() };
        peers::tell_several(&present, &[&begin, command]).map_err(advise)?;
    }
    let step = DdlStep {
        user: current_user(),
        search_path: search_path(),
        command: serde_json::to_string(command).unwrap_or_default(),
    };
    transaction::with(|change| {
        if !has_begun {
            change.note_begun();
        }
        change.push(step);
    });
    Ok(())
}

/// What went well here may fail elsewhere, since nodes differ in what is not
/// managed.
fn advise(report: Report) -> Report {
    use PgSqlErrorCode::*;
    match report.code {
        ERRCODE_INVALID_SCHEMA_NAME
        | ERRCODE_UNDEFINED_OBJECT
        | ERRCODE_UNDEFINED_FUNCTION
        | ERRCODE_UNDEFINED_TABLE => report.replace_hint(
            "It must exist on every node: create it there too, or with shardman.broadcast_ddl set to on.",
        ),
        ERRCODE_DUPLICATE_TABLE | ERRCODE_DUPLICATE_OBJECT | ERRCODE_DUPLICATE_SCHEMA => report
            .replace_hint("That node has something of the name that is its own: drop or rename it there."),
        _ => report,
    }
}

/// Members that do not take part in the transaction's change: they are down, or
/// cannot be reached from here.
pub fn missing_members() -> Result<Vec<NodeId>, Report> {
    if let Some(missing) = transaction::with(|change| change.missing.clone()).flatten() {
        return Ok(missing);
    }
    let registry = registry()?;
    let mut missing = fdw::session::unreachable(&others(registry.members())?)?;
    let down = registry.members().iter().filter(|member| member.is_down);
    missing.extend(down.map(|member| member.id));
    missing.sort_unstable();
    transaction::with(|change| change.missing = Some(missing.clone()));
    Ok(missing)
}

fn others(members: &[Member]) -> Result<Vec<NodeId>, Report> {
    let me = membership::my_identity()?.node_id;
    let active = members.iter().filter(|member| member.is_active && member.id != me);
    Ok(active.map(|member| member.id).collect())
}

fn node_missing(member: Option<&Member>, node: NodeId) -> Report {
    let name = member.map_or_else(|| node.to_string(), |member| member.name.clone());
    Report::new(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("cannot run this command while node \"{name}\" is down"),
    )
    .detail("The command depends on rows, or destroys some, and that node may hold them.")
    .hint("Retry when the node is back; shardman.nodes shows the state of all nodes.")
}

fn search_path() -> String {
    // SAFETY: a setting that exists; the string is copied at once.
    unsafe { text(pg_sys::GetConfigOption(c"search_path".as_ptr(), true, false)) }
}

/// `now()`, in microseconds since 2000.
pub fn transaction_start() -> i64 {
    // SAFETY: reads the backend's transaction state.
    unsafe { pg_sys::GetCurrentTransactionStartTimestamp() }
}
