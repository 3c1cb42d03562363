//! What a backend or worker needs to know of managed DDL at every step: small,
//! unlike the metadata.

use cluster::metadata::{DdlPosition, DdlTail, Metadata, NodeState, Token, TokenId};
use cluster::{LogIndex, NodeId};
use serde::{Deserialize, Serialize};

/// How managed DDL stands on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DdlView {
    /// What of the log has been applied here.
    pub index: LogIndex,
    /// The token that is held.
    pub token: Option<Token>,
    /// The intent that is not settled, and its coordinator's node.
    pub pending: Option<(TokenId, NodeId)>,
    /// The last entry.
    pub tail: DdlTail,
    /// Entries that some member has not applied.
    pub kept: u64,
    /// Each member, its state, and how far it says it is.
    pub members: Vec<(NodeId, NodeState, DdlPosition)>,
}

impl DdlView {
    /// Of the metadata after `index`.
    pub(crate) fn of(index: LogIndex, metadata: &Metadata) -> Self {
        let ddl = metadata.ddl();
        let pending = ddl.pending();
        let members = metadata.nodes().map(|node| (node.id, node.state, ddl.applied(node.id)));
        DdlView {
            index,
            token: ddl.token(),
            pending: pending.map(|(_, intent)| (intent.entry.token, intent.coordinator)),
            tail: ddl.tail(),
            kept: ddl.kept() as u64,
            members: members.collect(),
        }
    }

    /// Where a member stands.
    pub fn state_of(&self, node: NodeId) -> Option<NodeState> {
        self.members.iter().find(|(id, ..)| *id == node).map(|(_, state, _)| *state)
    }

    /// How far a member says it is.
    pub fn applied(&self, node: NodeId) -> DdlPosition {
        let member = self.members.iter().find(|(id, ..)| *id == node);
        member.map(|(.., position)| *position).unwrap_or_default()
    }
}
