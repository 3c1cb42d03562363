//! What a request can answer instead of a result.

use cluster::{ClusterId, NodeId, SystemIdentifier};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a request was not done. It travels to backends and between peers as it
/// is; the messages follow PostgreSQL's style for primary messages.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RaftError {
    /// This data directory belongs to no cluster.
    #[error("this node is not a member of a cluster")]
    NotMember,
    /// `Found` or `Adopt` on a node that has an identity.
    #[error("this node is node {node_id} of cluster {cluster_id} already")]
    AlreadyMember {
        /// The cluster it belongs to.
        cluster_id: ClusterId,
        /// Its id there.
        node_id: NodeId,
    },
    /// `Forget` on a node that the log has reached.
    #[error("this node has received the metadata log and cannot be forgotten")]
    LogReceived,
    /// No leader that a majority follows was found in time. Nothing was
    /// appended; trying again is safe.
    #[error("the metadata log has no leader")]
    NoLeader,
    /// The node that was asked is not the leader. Nothing was appended. Peers
    /// answer it to each other; a client sees [`RaftError::NoLeader`].
    #[error("this node is not the leader of the metadata log")]
    NotLeader,
    /// The request was not done in time and may be repeated: it is of a kind
    /// that does no harm twice.
    #[error("timed out while {waiting_for}")]
    Timeout {
        /// In the words "timed out while …".
        waiting_for: String,
    },
    /// The command may be in the log or may not. Look at the metadata before
    /// proposing it again.
    #[error("the outcome of the proposal is unknown")]
    OutcomeUnknown,
    /// The frame or the request names another cluster than this node's.
    #[error("this node belongs to cluster {ours}, not to {theirs}")]
    WrongCluster {
        /// Of this node.
        ours: ClusterId,
        /// Named in the frame.
        theirs: ClusterId,
    },
    /// The frame is for another node: an address leads to the wrong server.
    #[error("this is node {ours}, not node {theirs}")]
    WrongNode {
        /// This node.
        ours: NodeId,
        /// Named in the frame.
        theirs: NodeId,
    },
    /// The identity was made for another data directory.
    #[error("this data directory has system identifier {ours}, not {theirs}")]
    WrongDataDirectory {
        /// Of this data directory.
        ours: SystemIdentifier,
        /// In the identity.
        theirs: SystemIdentifier,
    },
    /// The sender speaks another version of the protocol.
    #[error("frame format {theirs} is not the supported format {ours}")]
    WrongFormat {
        /// What this version reads.
        ours: u32,
        /// What the frame says.
        theirs: u32,
    },
    /// Not a request, or not a frame.
    #[error("malformed message: {reason}")]
    Malformed {
        /// What was wrong with it.
        reason: String,
    },
    /// More bytes than a frame or a command may have.
    #[error("message of {bytes} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The membership would be left without a voter.
    #[error("node {node} is the only voter")]
    LastVoter {
        /// That node.
        node: NodeId,
    },
    /// The node was taken out of the cluster; its messages count no more.
    #[error("node {node} was removed from the cluster")]
    Removed {
        /// Which.
        node: NodeId,
    },
    /// The sender's server has been started again since.
    #[error("the message is of an earlier start of node {node}'s server")]
    EarlierLife {
        /// The sender.
        node: NodeId,
    },
    /// The frame was here before, or is so old that it may have been.
    #[error("the message of node {node} was received before")]
    Replayed {
        /// The sender.
        node: NodeId,
        /// The last number that came from it.
        last: u64,
    },
    /// The node was started and does not take part before a majority has said
    /// that its data directory is the one it had last.
    #[error("node {node} waits for a majority to recognise it")]
    Unrecognised {
        /// Which.
        node: NodeId,
    },
    /// The data directory is older than what the cluster knows of this node: it
    /// has forgotten votes, entries and transactions.
    #[error("the data directory of node {node} was restored from an old copy")]
    OldCopy {
        /// This node.
        node: NodeId,
    },
    /// The peer could not be connected to. Nothing was sent.
    #[error("could not reach node {node}: {reason}")]
    Unreachable {
        /// That peer.
        node: NodeId,
        /// What the connection answered.
        reason: String,
    },
    /// Raft does not run on this node.
    #[error("the metadata log is stopped: {reason}")]
    Stopped {
        /// What stopped it.
        reason: String,
    },
    /// The file system refused something.
    #[error("could not access the metadata log's files: {reason}")]
    Storage {
        /// What it said.
        reason: String,
    },
}

impl RaftError {
    pub(crate) fn timeout(waiting_for: &str) -> Self {
        RaftError::Timeout { waiting_for: waiting_for.to_owned() }
    }

    pub(crate) fn malformed(reason: impl ToString) -> Self {
        RaftError::Malformed { reason: reason.to_string() }
    }

    pub(crate) fn storage(reason: impl ToString) -> Self {
        RaftError::Storage { reason: reason.to_string() }
    }

    pub(crate) fn stopped(reason: impl ToString) -> Self {
        RaftError::Stopped { reason: reason.to_string() }
    }
}
