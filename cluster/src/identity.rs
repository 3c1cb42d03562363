//! Who this data directory is in its cluster.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ClusterId, NodeId, SystemIdentifier};

/// The secret that node sessions log in with (SCRAM). Its `Debug` and
/// `Display` never show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credential(pub String);

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

/// Kept in a file of the data directory, mode 0600; never in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster this node belongs to.
    pub cluster_id: ClusterId,
    /// This node's id in it.
    pub node_id: NodeId,
    /// The data directory that was given this identity: a file copied into
    /// another data directory is not valid there.
    pub system_identifier: SystemIdentifier,
    /// What node sessions log in with, the same on all nodes.
    pub credential: Credential,
}
