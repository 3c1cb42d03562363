//! The requests of the local protocol.

use cluster::metadata::{
    Accepted, DdlPosition, Fate, Metadata, MetadataCommand, NodeRecord, Outcome, TokenId,
};
use cluster::row_log::{Accepted as AcceptedRows, RowLogId, RowLogPosition};
use cluster::{ClusterId, Identity, LogIndex, NodeId};
use serde::{Deserialize, Serialize};

use super::{DdlView, RaftStatus, RowLogsView};

/// What a backend asks of its node's worker. Each is answered by a
/// `Result<Response, RaftError>`; the variant names the response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Creates a cluster whose only node is this one: starts its log, proposes
    /// `CreateCluster` and keeps the identity. Answers [`Response::Done`], or
    /// `AlreadyMember`. Either all of it happened or nothing.
    Found {
        /// The new cluster's id and credential, this node's id and system
        /// identifier.
        identity: Identity,
        /// This node's record, with the same id and system identifier.
        first: NodeRecord,
    },
    /// Makes this node a member whose log is to come from the leader. Answers
    /// [`Response::Done`], or `AlreadyMember`.
    Adopt {
        /// As given by the cluster: `AddNode` was accepted under its node id.
        identity: Identity,
    },
    /// Takes an `Adopt` back, as long as nothing of the log has arrived.
    /// Answers [`Response::Done`], or `LogReceived`.
    Forget {
        /// Of the identity that is to go.
        cluster_id: ClusterId,
    },
    /// Drops the identity and the log of a node that the cluster has removed:
    /// the caller has seen `RemoveMember` done. The id is never given again, so
    /// that the votes which are forgotten here do not count anywhere. Answers
    /// [`Response::Done`].
    Leave {
        /// Of the identity that is to go.
        cluster_id: ClusterId,
    },
    /// Appends a command, through the leader, and waits until it is applied
    /// there. Answers [`Response::Proposed`]; `NoLeader` if nothing was
    /// appended, `OutcomeUnknown` if it may have been.
    Propose(MetadataCommand),
    /// Makes a node that has adopted its identity receive the log, waits until
    /// it has caught up, and makes it a voter while there are fewer than
    /// [`crate::MAX_VOTERS`]. May be repeated. Answers [`Response::Done`]. After
    /// a `Timeout` the node is still a learner or may become one: repeat, or
    /// `RemoveMember`.
    AddMember {
        /// Its id and where it is reached.
        node: NodeRecord,
    },
    /// Takes a node out of the log's membership; a learner that has caught up
    /// takes a voter's place. May be repeated; a node that is no member counts
    /// as removed. Answers [`Response::Done`], or `LastVoter`.
    RemoveMember {
        /// Which.
        node: NodeId,
    },
    /// What this node has applied, which may be behind the cluster. Answers
    /// [`Response::Metadata`].
    Metadata,
    /// The same as soon as this node has applied something behind `beyond`, or
    /// the time is over. Answers [`Response::Metadata`].
    AwaitMetadata {
        /// What the caller has seen.
        beyond: LogIndex,
        /// In milliseconds.
        timeout_ms: u64,
    },
    /// Waits until this node has applied everything that was committed anywhere
    /// when the request came. Answers [`Response::Confirmed`].
    Confirm,
    /// How managed DDL stands here, once this node has applied more than
    /// `after`, or when the time is over. Answers [`Response::Ddl`].
    WatchDdl {
        /// What the caller has seen.
        after: LogIndex,
        /// How long to wait for more.
        limit_ms: u64,
    },
    /// The first entry behind a position, as far as this node has applied the
    /// log. Answers [`Response::NextDdl`].
    NextDdl {
        /// What the caller has done.
        after: DdlPosition,
    },
    /// What becomes of transactions, as far as this node has applied the log.
    /// Answers [`Response::Fates`], in the same order.
    Fates(Vec<TokenId>),
    /// The tails of all row logs, once a majority has confirmed that this node
    /// knows them: whatever was acknowledged before the request came is in.
    /// Answers [`Response::RowLogTails`].
    RowLogTails,
    /// Entries of a row log behind a position, some at a time, as soon as there
    /// are any or the time is over. The last may be an intent that is not
    /// settled; asked again behind the entries before it, the answer comes when
    /// it is. Answers [`Response::RowEntries`].
    RowEntries {
        /// Which log.
        log: RowLogId,
        /// What the caller has applied.
        after: RowLogPosition,
        /// How long to wait for more.
        limit_ms: u64,
    },
    /// How all row logs stand, as far as this node has applied the log. Answers
    /// [`Response::RowLogs`].
    RowLogs,
    /// How Raft stands on this node. Always answered, with
    /// [`Response::Status`].
    Status,
    /// A frame from a peer, as `shardman.raft_rpc` got it. Answers
    /// [`Response::Rpc`]: refusals are inside of that frame.
    #[serde(skip)]
    Rpc(Vec<u8>),
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Nothing more to say.
    Done,
    /// The command is committed, and applied on the leader. This node may apply
    /// it a moment later.
    Proposed {
        /// Where it is in the log.
        index: LogIndex,
        /// What the state machine answered, possibly a refusal.
        outcome: Outcome,
    },
    /// This node's state.
    Metadata {
        /// The last index applied, 0 if none.
        index: LogIndex,
        /// The state after it.
        metadata: Metadata,
    },
    /// This node has applied the log up to `index` at least.
    Confirmed {
        /// What was committed when the request came.
        index: LogIndex,
    },
    /// How managed DDL stands.
    Ddl(DdlView),
    /// An entry and its position, if there is one.
    NextDdl(Option<(DdlPosition, Accepted)>),
    /// One for each token.
    Fates(Vec<Fate>),
    /// The last entry of each row log.
    RowLogTails(Vec<(RowLogId, RowLogPosition)>),
    /// Entries, in order.
    RowEntries {
        /// Everything up to here is gone; a caller that has not applied it needs
        /// a copy.
        truncated: RowLogPosition,
        /// The log's last entry.
        tail: RowLogPosition,
        /// Settled ones, and then perhaps one that is not.
        entries: Vec<(RowLogPosition, AcceptedRows)>,
        /// The log is gone.
        is_gone: bool,
    },
    /// How row logs stand.
    RowLogs(RowLogsView),
    /// How Raft stands.
    Status(RaftStatus),
    /// What goes back to the peer.
    #[serde(skip)]
    Rpc(Vec<u8>),
}
