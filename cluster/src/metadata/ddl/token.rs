//! The right to change the schema.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::txn::Life;

/// A token's number: larger than that of every token before, so that it fences
/// off their holders. It names the transaction that holds it, for ever.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct TokenId(pub u64);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who asked for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenHolder {
    /// The coordinator's node.
    pub node: NodeId,
    /// That node's life: a restart ends what it held.
    pub life: Life,
    /// Tells the requests of one life apart, so that one that is repeated gets
    /// the same token again.
    pub request: u64,
}

/// A token that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its number.
    pub id: TokenId,
    /// Who holds it.
    pub holder: TokenHolder,
    /// How often it has been renewed.
    pub renewals: u64,
}
