//! Bringing a server into the cluster.

use cluster::{ClusterId, Identity, NodeId};
use pgrx::prelude::*;
use raft::Request;

use super::create::already_member;
use super::my_identity_if_any;
use super::role::set_credential;
use crate::report::Report;
use crate::worker;

pub fn add_node(connstr: &str) -> Result<NodeId, Report> {
    let _ = connstr;
    Ok(NodeId(0))
}

pub fn join_cluster(member_connstr: &str, own_connstr: &str) -> Result<NodeId, Report> {
    let _ = (member_connstr, own_connstr);
    Ok(NodeId(0))
}

/// Takes the identity that a member gives: from now on node sessions can log
/// in here, and the log will arrive.
pub fn adopt(identity: &str) -> Result<(), Report> {
    let identity: Identity = serde_json::from_str(identity).map_err(|error| {
        Report::new(PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION, "could not read the identity")
            .detail(error.to_string())
    })?;
    match my_identity_if_any()? {
        // A member that tries again after an interrupted attempt.
        Some(ours) if *ours == identity => Ok(()),
        Some(ours) => Err(already_member(&ours)),
        None => {
            set_credential(&identity.credential)?;
            worker::ask(&Request::Adopt { identity }).map(drop)
        }
    }
}

/// Undoes `adopt`, as long as the log has not arrived.
pub fn forget(cluster_id: &str) -> Result<(), Report> {
    worker::ask(&Request::Forget { cluster_id: ClusterId(cluster_id.into()) }).map(drop)
}
