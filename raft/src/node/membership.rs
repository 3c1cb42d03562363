//! Who is in the log's membership, and who of them votes. All of this runs on
//! the leader and may be repeated after any failure.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::NodeId;
use cluster::metadata::NodeRecord;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError as OpenraftError};
use openraft::{BasicNode, ChangeMembers, Membership};

use super::Member;
use crate::error::RaftError;
use crate::local::Response;
use crate::type_config::{RaftMetrics, RaftNodeId, raft_id};

/// With five voters two may fail; more would only make each commit slower.
pub const MAX_VOTERS: usize = 5;

/// Entries that a learner may lack and still be made a voter.
const CAUGHT_UP_WITHIN: u64 = 16;
/// After another change was found under way.
const CHANGE_AGAIN_AFTER: Duration = Duration::from_millis(50);

impl Member {
    /// See [`crate::Request::AddMember`].
    pub(super) async fn add_member(&self, node: NodeRecord) -> Result<Response, RaftError> {
        let _one_at_a_time = self.membership.lock().await;
        self.settle().await?;
        let id = raft_id(node.id);
        if self.members().get_node(&id).is_none() {
            let nodes = [(id, BasicNode::new(node.connstr))].into();
            self.change(ChangeMembers::AddNodes(nodes), true).await?;
        }
        self.caught_up(id).await?;
        let voters: BTreeSet<_> = self.members().voter_ids().collect();
        if voters.len() < MAX_VOTERS && !voters.contains(&id) {
            self.change(ChangeMembers::AddVoterIds([id].into()), true).await?;
        }
        Ok(Response::Done)
    }

    /// See [`crate::Request::RemoveMember`].
    pub(super) async fn remove_member(&self, node: NodeId) -> Result<Response, RaftError> {
        let _one_at_a_time = self.membership.lock().await;
        self.settle().await?;
        let id = raft_id(node);
        let members = self.members();
        let mut voters: BTreeSet<_> = members.voter_ids().collect();
        if voters.remove(&id) {
            voters.extend(self.successor(id));
            if voters.is_empty() {
                return Err(RaftError::LastVoter { node });
            }
            // Not retained: the voter that leaves is not even a learner then.
            self.change(ChangeMembers::ReplaceAllVoters(voters), false).await?;
        } else if members.get_node(&id).is_some() {
            self.change(ChangeMembers::RemoveNodes([id].into()), true).await?;
        }
        Ok(Response::Done)
    }

    /// Finishes a change of voters that an earlier leader left half-way.
    async fn settle(&self) -> Result<(), RaftError> {
        self.check_leading()?;
        let members = self.members();
        match members.get_joint_config().as_slice() {
            [_, .., goal] => self.change(ChangeMembers::ReplaceAllVoters(goal.clone()), true).await,
            _ => Ok(()),
        }
    }

    /// Waits until a member has what the log holds now.
    async fn caught_up(&self, id: RaftNodeId) -> Result<(), RaftError> {
        let goal = self.metrics().last_log_index.unwrap_or(0);
        let mut metrics = self.raft.metrics();
        let has_it = |metrics: &RaftMetrics| {
            !metrics.state.is_leader() || matched(metrics, id).is_some_and(|at| at >= goal)
        };
        metrics.wait_for(has_it).await.map_err(|_| self.death())?;
        self.check_leading()
    }

    /// The learner that takes the place of the voter `leaving`: of those who
    /// have caught up, the one with the smallest id.
    fn successor(&self, leaving: RaftNodeId) -> Option<RaftNodeId> {
        let metrics = self.metrics();
        let last = metrics.last_log_index.unwrap_or(0);
        let members = metrics.membership_config.membership();
        let near = |id: &RaftNodeId| {
            matched(&metrics, *id).is_some_and(|at| last.saturating_sub(at) <= CAUGHT_UP_WITHIN)
        };
        members.learner_ids().filter(|id| *id != leaving).find(near)
    }

    fn members(&self) -> Membership<RaftNodeId, BasicNode> {
        self.metrics().membership_config.membership().clone()
    }

    /// Appends a change of the membership and waits until it is applied; does
    /// not `retain` voters that leave as learners.
    async fn change(
        &self,
        change: ChangeMembers<RaftNodeId, BasicNode>,
        retain: bool,
    ) -> Result<(), RaftError> {
        loop {
            let changed = self.raft.change_membership(change.clone(), retain).await;
            return match changed {
                Ok(_) => Ok(()),
                // One that was given up by its client and is not committed yet.
                Err(OpenraftError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_),
                ))) => {
                    tokio::time::sleep(CHANGE_AGAIN_AFTER).await;
                    continue;
                }
                // Appended or not: whoever leads now does it over.
                Err(OpenraftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
                    Err(RaftError::NotLeader)
                }
                Err(OpenraftError::APIError(ClientWriteError::ChangeMembershipError(e))) => {
                    Err(RaftError::malformed(e))
                }
                Err(OpenraftError::Fatal(e)) => Err(RaftError::stopped(e)),
            };
        }
    }
}

/// How far a member is known to be, on the leader.
fn matched(metrics: &RaftMetrics, id: RaftNodeId) -> Option<u64> {
    let progress = metrics.replication.as_ref()?.get(&id)?;
    progress.as_ref().map(|log_id| log_id.index)
}
