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

/// One of three may fail, and a learner takes the place of one that is removed.
///
/// Not more: openraft 0.9 counts acknowledgements wrongly as soon as a quorum takes
/// more than one voter beside the slowest two (its issue 1802, mended for 0.10). With
/// four or five voters it takes for committed what two have, or commits no more once a
/// voter has died at the wrong moment.
pub const MAX_VOTERS: usize = 3;

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
        if self.members().voter_ids().eq([id]) {
            // Somebody has to vote.
            self.promote(id).await?;
        }
        let members = self.members();
        let mut voters: BTreeSet<_> = members.voter_ids().collect();
        if voters.remove(&id) {
            if voters.is_empty() {
                return Err(RaftError::LastVoter { node });
            }
            // Not retained: the voter that leaves is not even a learner then.
            self.change(ChangeMembers::ReplaceAllVoters(voters), false).await?;
        } else if members.get_node(&id).is_some() {
            self.change(ChangeMembers::RemoveNodes([id].into()), true).await?;
        }
        // One after the other, so that no more than MAX_VOTERS take part at any time.
        if self.check_leading().is_ok() {
            self.promote(id).await?;
        }
        Ok(Response::Done)
    }

    /// Fills a place among the voters that is free because its leader left with it, or
    /// because no learner was near enough when it became free.
    pub(super) async fn fill_places(&self) {
        let members = self.members();
        let (voters, all) = (members.voter_ids().count(), members.nodes().count());
        if voters >= MAX_VOTERS.min(all) {
            return;
        }
        // Whoever changes the membership now does it.
        let Ok(_one_at_a_time) = self.membership.try_lock() else { return };
        let own = raft_id(self.identity.node_id);
        // A change that fails is tried again with the next look.
        self.promote(own).await.ok();
    }

    /// Makes a learner a voter if there is room for one; not the one that leaves.
    async fn promote(&self, leaving: RaftNodeId) -> Result<(), RaftError> {
        if self.members().voter_ids().count() >= MAX_VOTERS {
            return Ok(());
        }
        match self.successor(leaving) {
            Some(learner) => self.change(ChangeMembers::AddVoterIds([learner].into()), true).await,
            None => Ok(()),
        }
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
