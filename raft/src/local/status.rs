//! How Raft stands on a node: what `shardman.health()` is made of.

use cluster::{ClusterId, LogIndex, NodeId};
use serde::{Deserialize, Serialize};

/// A node's part in Raft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RaftState {
    /// No identity: the node belongs to no cluster.
    NotMember,
    /// It was started and waits for a majority to recognise its data directory.
    Unrecognised,
    /// The node has its identity and waits for the leader to send the log.
    Uninitialized,
    /// It receives the log and does not vote.
    Learner,
    /// It votes and follows.
    Follower,
    /// It stands for election.
    Candidate,
    /// It leads.
    Leader,
    /// Raft does not run, for this reason.
    Stopped(String),
    /// Neither does it here, for the cluster has removed this node, or does not
    /// take its data directory.
    Barred(String),
}

/// What [`crate::Request::Status`] answers. Positions are 0 where nothing is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftStatus {
    /// The node's part.
    pub state: RaftState,
    /// Its cluster.
    pub cluster_id: Option<ClusterId>,
    /// Its id.
    pub node_id: Option<NodeId>,
    /// The term it has seen.
    pub term: u64,
    /// Whom it takes for the leader.
    pub leader: Option<NodeId>,
    /// The end of its log.
    pub last_log: LogIndex,
    /// What it knows to be committed.
    pub committed: LogIndex,
    /// What its state machine has applied.
    pub applied: LogIndex,
    /// Up to here the log is in a snapshot.
    pub snapshot: LogIndex,
    /// Who votes, in ascending order.
    pub voters: Vec<NodeId>,
    /// Who only receives the log, in ascending order.
    pub learners: Vec<NodeId>,
    /// On the leader: how far each member is, itself included.
    pub matched: Vec<MatchedIndex>,
    /// On the leader: milliseconds since a majority last answered it.
    pub millis_since_quorum_ack: Option<u64>,
}

/// How much of the log a member is known to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchedIndex {
    /// The member.
    pub node: NodeId,
    /// The end of what it has; 0 if it has not answered yet.
    pub index: LogIndex,
}

impl RaftStatus {
    /// A status with nothing but `state` in it.
    pub(crate) fn only(state: RaftState) -> Self {
        RaftStatus {
            state,
            cluster_id: None,
            node_id: None,
            term: 0,
            leader: None,
            last_log: LogIndex(0),
            committed: LogIndex(0),
            applied: LogIndex(0),
            snapshot: LogIndex(0),
            voters: Vec::new(),
            learners: Vec::new(),
            matched: Vec::new(),
            millis_since_quorum_ack: None,
        }
    }
}
