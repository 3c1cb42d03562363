//! The first node of a cluster.

use cluster::metadata::{NodeRecord, NodeState};
use cluster::{ClusterId, Credential, Identity, NodeId};
use pgrx::prelude::*;
use raft::Request;

use super::address::Address;
use super::describe::describe_this_server;
use super::role::{random_hex, set_credential};
use super::{my_identity_if_any, system_identifier};
use crate::report::Report;
use crate::{schema_change, worker};

/// Makes this server the only node of a new cluster, reached by others under
/// `connstr`. Returns its id.
pub fn create_cluster(connstr: &str) -> Result<NodeId, Report> {
    let address = Address::parse(connstr)?;
    if let Some(identity) = my_identity_if_any()? {
        return Err(already_member(&identity));
    }
    if describe_this_server()?.max_prepared_transactions == 0 {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "max_prepared_transactions is 0",
        )
        .detail("Commits over several nodes need prepared transactions.")
        .hint("Set max_prepared_transactions to max_connections or more and restart the server."));
    }
    let identity = Identity {
        cluster_id: ClusterId(random_hex(16)?),
        node_id: NodeId(1),
        system_identifier: system_identifier(),
        credential: Credential(random_hex(32)?),
    };
    let first = NodeRecord {
        id: identity.node_id,
        name: format!("node{}", identity.node_id),
        connstr: address.without_user(),
        system_identifier: identity.system_identifier,
        state: NodeState::Active,
    };
    set_credential(&identity.credential)?;
    // Last, as it does not roll back.
    let id = identity.node_id;
    worker::ask(&Request::Found { identity, first })?;
    schema_change::begin_to_serve();
    worker::wait_until_listed(id)?;
    Ok(id)
}

/// The refusal of a second membership.
pub fn already_member(identity: &Identity) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "this server is a member of a cluster already",
    )
    .detail(format!("It is node {} of cluster {}.", identity.node_id, identity.cluster_id))
    .hint("A server belongs to one cluster at a time.")
}
