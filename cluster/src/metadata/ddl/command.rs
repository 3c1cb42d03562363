//! What can be proposed about the schema, and what comes of it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{DdlEntry, DdlPosition, DdlTail, TokenHolder, TokenId};
use crate::NodeId;
use crate::txn::Life;

/// A proposal. Each may be repeated when its outcome is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DdlCommand {
    /// Asks for the token. Answers [`DdlAnswer::Granted`], or `TokenHeld` or
    /// `IntentPending`.
    TakeToken {
        /// Who asks.
        holder: TokenHolder,
    },
    /// The holder is still at work.
    RenewToken {
        /// What it holds.
        token: TokenId,
    },
    /// The holder's transaction is over; nothing will be appended any more.
    GiveUpToken {
        /// What it held.
        token: TokenId,
    },
    /// A token was not renewed in time. Without effect if it has been since.
    ExpireToken {
        /// Which.
        token: TokenId,
        /// How often it had been renewed when it was last looked at.
        renewals: u64,
    },
    /// A server was started: what earlier lives of it held is void.
    BeginLife {
        /// Which.
        node: NodeId,
        /// Its present life.
        life: Life,
    },
    /// What a transaction did. Answers [`DdlAnswer::Accepted`], the same again
    /// if it is repeated, or `TokenRevoked`.
    Append(DdlEntry),
    /// How the transaction of an intent ended.
    Settle {
        /// Whose intent.
        token: TokenId,
        /// The coordinator's node, or any other once that one is no member.
        by: NodeId,
        /// Whether it is committed.
        is_committed: bool,
    },
    /// A member has brought all entries up to here into its database.
    NoteApplied {
        /// Which member.
        node: NodeId,
        /// The last of them.
        position: DdlPosition,
    },
}

/// What applying one answered, besides "done".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DdlAnswer {
    /// The token is the asker's.
    Granted {
        /// Its number.
        token: TokenId,
        /// What every node that takes part must have applied first.
        after: DdlTail,
    },
    /// The entry is in the log. A complete one is thereby committed.
    Accepted {
        /// Where.
        position: DdlPosition,
    },
}

/// Why nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DdlRefusal {
    /// Another transaction changes the schema.
    #[error("a transaction of node {} is changing the schema", holder.node)]
    TokenHeld {
        /// Whose.
        holder: TokenHolder,
    },
    /// A transaction that did more than change the schema has not ended.
    #[error("a schema change of node {node} waits for the end of its transaction")]
    IntentPending {
        /// The coordinator's node.
        node: NodeId,
    },
    /// The right to change the schema has been given away.
    #[error("the right to change the schema was taken from the transaction")]
    TokenRevoked,
    /// A checksum does not fit.
    #[error("the schema change is damaged")]
    Damaged,
    /// This node is not the one that may say so.
    #[error("node {node} does not decide about this schema change")]
    NotYours {
        /// Who tried.
        node: NodeId,
    },
    /// Settled before, the other way.
    #[error("the schema change has been settled otherwise")]
    SettledOtherwise,
    /// The node has not applied what was decided.
    #[error("node {node} has not applied all schema changes")]
    Behind {
        /// Which node.
        node: NodeId,
    },
}
