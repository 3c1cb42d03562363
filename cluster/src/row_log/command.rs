//! What can be proposed about row logs, and what comes of it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{RowEntry, RowLogId, RowLogPosition};
use crate::metadata::TokenId;
use crate::txn::TransactionName;
use crate::{NodeId, TableId};

/// A proposal. Each may be repeated when its outcome is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowLogCommand {
    /// Makes a log. Answers [`RowLogAnswer::Added`].
    Add {
        /// Its name, not that of another log.
        name: String,
    },
    /// Ends a log. Whoever proposes it has seen that no table uses it.
    Remove {
        /// Which.
        log: RowLogId,
    },
    /// What a transaction did. Answers [`RowLogAnswer::Accepted`], the same again
    /// if it is repeated.
    Append(RowEntry),
    /// How the transaction of an intent ended.
    Settle {
        /// Whose.
        transaction: TransactionName,
        /// The coordinator's node, or any other once that one is no member.
        by: NodeId,
        /// Whether it is committed.
        is_committed: bool,
    },
    /// A member has brought all entries up to here into its database, for good.
    NoteApplied {
        /// Which member.
        node: NodeId,
        /// By log.
        positions: Vec<(RowLogId, RowLogPosition)>,
    },
    /// A member cannot apply a log, or can again.
    NoteTrouble {
        /// Which member.
        node: NodeId,
        /// Which log.
        log: RowLogId,
        /// Why; none if it can.
        message: Option<String>,
    },
    /// A change of the schema is about to change a table: nothing about it is
    /// accepted until that is over, and afterwards only what was done to the
    /// table as it is then. Answers [`RowLogAnswer::Fenced`].
    Fence {
        /// The log of the table.
        log: RowLogId,
        /// The table.
        table: TableId,
        /// The right to change the schema under which it happens.
        token: TokenId,
    },
}

/// What applying one answered, besides "done".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowLogAnswer {
    /// The log exists.
    Added {
        /// Its id.
        log: RowLogId,
    },
    /// The entry is in the logs. A complete one is thereby committed.
    Accepted {
        /// Where, by log.
        positions: Vec<(RowLogId, RowLogPosition)>,
    },
    /// Nothing more comes about the table.
    Fenced {
        /// The last entry that may be about it.
        tail: RowLogPosition,
    },
}

/// Why nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowLogRefusal {
    /// A log has this name.
    #[error("log \"{name}\" already exists")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// More than the cluster can have.
    #[error("there are too many logs")]
    TooMany,
    /// No such log.
    #[error("the log does not exist")]
    UnknownLog {
        /// Which.
        log: RowLogId,
    },
    /// Somebody was faster.
    #[error("table {table} was changed by entry {position} of log \"{log}\"")]
    Conflict {
        /// The log's name.
        log: String,
        /// The table.
        table: TableId,
        /// The entry that changed it, after the transaction had looked.
        position: RowLogPosition,
    },
    /// What the transaction looked at is so long ago that nobody knows any more.
    #[error("the transaction looked at log \"{log}\" too long ago")]
    TooOld {
        /// The log's name.
        log: String,
    },
    /// The table is being changed, or has been.
    #[error("the definition of table {table} was changed")]
    SchemaChanged {
        /// The table.
        table: TableId,
    },
    /// Larger than [`super::MAX_ENTRY_BYTES`].
    #[error("the changes of the transaction are too large for a log entry")]
    TooLarge,
    /// This node is not the one that may say so.
    #[error("node {node} does not decide about this entry")]
    NotYours {
        /// Who tried.
        node: NodeId,
    },
    /// Settled before, the other way.
    #[error("the entry has been settled otherwise")]
    SettledOtherwise,
    /// The right to change the schema is not in force.
    #[error("the right to change the schema was taken from the transaction")]
    TokenRevoked,
}
