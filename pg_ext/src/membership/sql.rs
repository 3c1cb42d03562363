//! The SQL-callable functions of membership.

use cluster::NodeId;
use pgrx::prelude::*;
use raft::{RaftState, Request, Response};

use super::{create, describe, join, leave, my_identity, my_identity_if_any};
use crate::moving;
use crate::node_session::is_node_session;
use crate::report::{OrRaise, Report};
use crate::worker;

#[pg_extern(sql = false)]
fn create_cluster(connstr: &str) -> i32 {
    not_in_a_block("shardman.create_cluster()").or_raise();
    number(create::create_cluster(connstr).or_raise())
}

#[pg_extern(sql = false)]
fn add_node(connstr: &str, rebalance: bool) -> i32 {
    not_in_a_block("shardman.add_node()").or_raise();
    let id = number(join::add_node(connstr).or_raise());
    if rebalance {
        let job = moving::rebalance_all().or_raise();
        notice!("job {job} moves partitions to node {id}");
    }
    id
}

#[pg_extern(sql = false)]
fn join_cluster(member_connstr: &str, own_connstr: &str) -> i32 {
    not_in_a_block("shardman.join_cluster()").or_raise();
    number(join::join_cluster(member_connstr, own_connstr).or_raise())
}

#[pg_extern(sql = false)]
fn adopt(identity: &str) {
    join::adopt(identity).or_raise()
}

#[pg_extern(sql = false)]
fn my_id() -> Option<i32> {
    my_identity_if_any().or_raise().map(|identity| number(identity.node_id))
}

#[pg_extern(sql = false)]
fn describe_server() -> String {
    let description = describe::describe_this_server().or_raise();
    serde_json::to_string(&description).unwrap_or_default()
}

#[pg_extern(sql = false)]
fn raft_status_json() -> String {
    let status = match worker::ask(&Request::Status).or_raise() {
        Response::Status(status) => status,
        _ => return String::from("{}"),
    };
    // The state is a word; what stopped a stopped one is in the server log.
    let state = serde_json::to_value(&status.state).unwrap_or_default();
    let state = match state.as_object().and_then(|object| object.keys().next()) {
        Some(word) => word.clone(),
        None => state.as_str().unwrap_or_default().to_owned(),
    };
    serde_json::json!({
        "node_id": status.node_id,
        "state": state,
        "reason": match &status.state {
            RaftState::Stopped(reason) | RaftState::Barred(reason) => Some(reason),
            _ => None,
        },
        "term": status.term,
        "leader": status.leader,
        "last_log_index": status.last_log,
        "applied_index": status.applied,
        "voters": status.voters,
        "learners": status.learners,
        "matched": status.matched,
        "millis_since_quorum_ack": status.millis_since_quorum_ack,
    })
    .to_string()
}

/// Forgets the cluster, if it has forgotten this server.
#[pg_extern(sql = false)]
fn leave_cluster() {
    leave::leave_cluster().or_raise()
}

#[pg_extern(sql = false)]
fn raft_rpc(frame: Vec<u8>) -> Vec<u8> {
    if !is_node_session() {
        Report::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "permission denied for function raft_rpc",
        )
        .detail("Only nodes of the cluster may call it.")
        .raise()
    }
    match worker::ask(&Request::Rpc(frame)).or_raise() {
        Response::Rpc(answer) => answer,
        _ => Vec::new(),
    }
}

/// Raises unless this server is the node that the caller believes it to be.
/// Returns its id.
#[pg_extern(sql = false)]
fn check_member(cluster_id: &str, node_id: i32, system_identifier: i64) -> i32 {
    let identity = my_identity().or_raise();
    let is_the_one = identity.cluster_id.0 == cluster_id
        && number(identity.node_id) == node_id
        && identity.system_identifier.0 as i64 == system_identifier;
    if !is_the_one {
        Report::new(
            PgSqlErrorCode::ERRCODE_SQLSERVER_REJECTED_ESTABLISHMENT_OF_SQLCONNECTION,
            format!("this server is not node {node_id} of cluster {cluster_id}"),
        )
        .detail(format!("It is node {} of cluster {}.", identity.node_id, identity.cluster_id))
        .hint("Check the addresses in shardman.nodes.")
        .raise()
    }
    number(identity.node_id)
}

fn number(id: NodeId) -> i32 {
    id.0 as i32
}

/// Refuses a function whose effect does not roll back, or that waits for what
/// the transaction may hold.
#[allow(unsafe_code)]
pub fn not_in_a_block(function: &str) -> Result<(), Report> {
    // SAFETY: reads backend state.
    if unsafe { pg_sys::IsTransactionBlock() } {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
            format!("{function} cannot run inside a transaction block"),
        ));
    }
    Ok(())
}
