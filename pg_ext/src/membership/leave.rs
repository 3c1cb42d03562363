//! Forgetting a cluster that has removed this server.

use cluster::LogIndex;
use pgrx::prelude::*;
use raft::{RaftState, Request, Response};

use super::my_identity;
use crate::report::Report;
use crate::worker::{self, ask_log};

/// Drops this server's identity and its copy of the metadata log. Refused as
/// long as it may be a member.
pub fn leave_cluster() -> Result<(), Report> {
    let identity = my_identity()?;
    let Response::Status(status) = worker::ask(&Request::Status)? else {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
            "the metadata worker gave an unexpected answer",
        ));
    };
    // The others do not take it for one, or the last that it has of the log says so.
    let is_refused = matches!(&status.state, RaftState::Barred(_));
    let is_removed = is_refused || {
        let (_, metadata) = ask_log(LogIndex(0), std::time::Duration::ZERO)?;
        metadata.has_removed(identity.node_id)
    };
    // Whoever calls it in a node session has seen the removal done.
    if !is_removed && !crate::node_session::is_node_session() {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("this server is node {} of its cluster", identity.node_id),
        )
        .hint(format!("Run shardman.rm_node({}) on another node first.", identity.node_id)));
    }
    let cluster_id = identity.cluster_id.clone();
    worker::ask(&Request::Leave { cluster_id }).map(drop)
}
