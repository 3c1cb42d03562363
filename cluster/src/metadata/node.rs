//! A member as the metadata log knows it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{NodeId, SystemIdentifier};

/// Where a node stands in its life as a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Admitted to the log, not yet holding the schema: it serves nothing.
    Joining,
    /// A full member.
    Active,
    /// A member that a majority cannot reach, or that is back and has not yet
    /// applied what was decided meanwhile: it serves nothing.
    Down,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl NodeState {
    /// The name that `shardman.nodes.state` shows.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Joining => "joining",
            NodeState::Active => "active",
            NodeState::Down => "down",
        }
    }
}

/// One row of `shardman.nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Given by the log.
    pub id: NodeId,
    /// Unique in the cluster; shown in messages and EXPLAIN.
    pub name: String,
    /// libpq keywords `host`, `port` and `dbname` only: no user, no secret.
    pub connstr: String,
    /// Of the data directory that joined.
    pub system_identifier: SystemIdentifier,
    /// Where it stands.
    pub state: NodeState,
}
