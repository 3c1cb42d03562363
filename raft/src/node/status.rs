//! openraft's metrics in our words.

use std::time::Duration;

use openraft::ServerState;
use tokio::time::timeout;

use super::Member;
use crate::error::RaftError;
use crate::local::{MatchedIndex, RaftState, RaftStatus};
use crate::type_config::{log_index, node_id};

/// Raft's own task answers at once, unless it is stuck on its disk; then the
/// status is the last one known.
const PATIENCE: Duration = Duration::from_millis(500);

impl Member {
    /// How Raft stands here.
    pub(super) async fn status(&self) -> RaftStatus {
        let committed = self.raft.with_raft_state(|state| state.committed);
        let committed = timeout(PATIENCE, committed).await.ok().and_then(Result::ok).flatten();
        let state = match self.check_running() {
            Ok(()) => self.state(),
            Err(e @ RaftError::Removed { .. }) => RaftState::Barred(e.to_string()),
            Err(_) => RaftState::Stopped(match self.metrics().running_state {
                Ok(()) => "its task ended".to_owned(),
                Err(fatal) => fatal.to_string(),
            }),
        };
        let metrics = self.metrics();
        let members = metrics.membership_config.membership();
        let mut voters: Vec<_> = members.voter_ids().map(node_id).collect();
        voters.sort_unstable();
        let matched = metrics.replication.iter().flatten();
        RaftStatus {
            state,
            cluster_id: Some(self.identity.cluster_id.clone()),
            node_id: Some(self.identity.node_id),
            term: metrics.current_term,
            leader: metrics.current_leader.map(node_id),
            last_log: cluster::LogIndex(metrics.last_log_index.unwrap_or(0)),
            committed: log_index(committed),
            applied: self.applied.borrow().index,
            snapshot: log_index(metrics.snapshot),
            learners: members.learner_ids().map(node_id).collect(),
            voters,
            matched: matched
                .map(|(id, at)| MatchedIndex { node: node_id(*id), index: log_index(*at) })
                .collect(),
            millis_since_quorum_ack: metrics.millis_since_quorum_ack,
        }
    }

    fn state(&self) -> RaftState {
        if !self.is_initialized() {
            return RaftState::Uninitialized;
        }
        match self.metrics().state {
            ServerState::Learner => RaftState::Learner,
            ServerState::Follower => RaftState::Follower,
            ServerState::Candidate => RaftState::Candidate,
            ServerState::Leader => RaftState::Leader,
            ServerState::Shutdown => RaftState::Stopped("raft stopped".to_owned()),
        }
    }
}
