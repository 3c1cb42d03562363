//! What can be proposed to the metadata log, and what comes of it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    DdlAnswer, DdlCommand, DdlPosition, DdlRefusal, NodeRecord, NodeState, SequenceBlock,
    SequenceBounds, TokenId,
};
use crate::jobs::{JobAnswer, JobCommand, JobRefusal};
use crate::row_log::{RowLogAnswer, RowLogCommand, RowLogRefusal};
use crate::{ClusterId, NodeId, SequenceId, SystemIdentifier};

/// An entry of the metadata log. Variants are only ever added: an old log must
/// replay under a new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetadataCommand {
    /// The first entry: the cluster exists and `first` is its only node.
    CreateCluster {
        /// Drawn by the node that creates the cluster.
        cluster_id: ClusterId,
        /// Its record, active from the start.
        first: NodeRecord,
    },
    /// Admits a node in state joining; the outcome carries its id.
    AddNode {
        /// As in [`NodeRecord::name`]; the log picks `node<id>` if empty.
        name: String,
        /// As in [`NodeRecord::connstr`].
        connstr: String,
        /// As in [`NodeRecord::system_identifier`].
        system_identifier: SystemIdentifier,
    },
    /// The node holds the schema and serves from now on.
    ActivateNode {
        /// Which.
        node: NodeId,
    },
    /// The node is no member any more. Its id is not given again.
    RemoveNode {
        /// Which.
        node: NodeId,
    },
    /// Hands out the next values of a sequence: never the same ones again,
    /// unless it cycles or is set back. A sequence that was never asked about
    /// stands at its first value.
    TakeSequenceBlock {
        /// Which.
        sequence: SequenceId,
        /// As the asking node has it.
        bounds: SequenceBounds,
        /// How many values at most.
        count: u32,
    },
    /// Puts a sequence elsewhere and hands out the values from there.
    SetSequence {
        /// Which.
        sequence: SequenceId,
        /// As the asking node has it.
        bounds: SequenceBounds,
        /// The next value to be given; none if it is at its end.
        next: Option<i64>,
        /// How many values at most.
        count: u32,
    },
    /// The node got the schema from the holder of this token and serves from
    /// now on. Refused if the schema may have changed meanwhile.
    AdmitNode {
        /// Which.
        node: NodeId,
        /// The token under which the schema was copied.
        token: TokenId,
    },
    /// A majority cannot reach an active node: changes of the schema go on
    /// without it, and what it holds is void.
    MarkDown {
        /// Which.
        node: NodeId,
    },
    /// A node that was down is back.
    ReturnNode {
        /// Which.
        node: NodeId,
        /// What it has applied; it must be everything.
        position: DdlPosition,
    },
    /// Changes of the schema.
    Ddl(DdlCommand),
    /// About jobs.
    Job(JobCommand),
    /// About row logs, of which [`super::Decided`] keeps track.
    RowLog(RowLogCommand),
}

/// What applying a command answered, the same on every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Applied,
    /// `AddNode` was accepted under this id.
    NodeAdded {
        /// The new node's id.
        id: NodeId,
    },
    /// What a job's command answered.
    Job(JobAnswer),
    /// These values of a sequence are the asker's.
    SequenceBlock(SequenceBlock),
    /// Nothing changed, for this reason.
    Refused(Refusal),
    /// A `Ddl` was accepted.
    Ddl(DdlAnswer),
    /// A `RowLog` was accepted.
    RowLog(RowLogAnswer),
}

/// Why the state machine left a command without effect.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// A second `CreateCluster`.
    #[error("the cluster already exists")]
    ClusterExists,
    /// Any other command before `CreateCluster`.
    #[error("there is no cluster yet")]
    NoCluster,
    /// The data directory is a member already.
    #[error("node {id} is this data directory")]
    AlreadyMember {
        /// The id it has.
        id: NodeId,
    },
    /// Another member is reached under this connection string.
    #[error("node {id} has this address")]
    AddressTaken {
        /// The id of the member that has it.
        id: NodeId,
    },
    /// Another member has this name.
    #[error("node {id} has the name \"{name}\"")]
    NameTaken {
        /// The id of the member that has it.
        id: NodeId,
        /// The name.
        name: String,
    },
    /// No such member.
    #[error("node {id} does not exist")]
    UnknownNode {
        /// What was asked for.
        id: NodeId,
    },
    /// A later life of its server has begun.
    #[error("a later start of the server of node {id} is known")]
    EarlierLife {
        /// Which.
        id: NodeId,
    },
    /// No value of the sequence is left.
    #[error("the sequence is at its end")]
    SequenceExhausted,
    /// It is not in the state that the command is about.
    #[error("node {id} is not {wanted}")]
    NotInState {
        /// Which.
        id: NodeId,
        /// The state it should be in.
        wanted: NodeState,
    },
    /// About the schema.
    #[error(transparent)]
    Ddl(#[from] DdlRefusal),
    /// A job's command was refused.
    #[error(transparent)]
    Job(JobRefusal),
    /// About row logs.
    #[error(transparent)]
    RowLog(RowLogRefusal),
}
