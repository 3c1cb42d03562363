//! What a transaction depends on.

use serde::{Deserialize, Serialize};

use super::{RowLogId, RowLogPosition};
use crate::TableId;
use crate::metadata::TokenId;

/// What a transaction has changed in the tables of one log, and what must not
/// have changed since it looked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// One for each table.
    pub tables: Vec<TableFootprint>,
}

/// How a table hangs on its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableLog {
    /// The log that carries its changes.
    pub log: RowLogId,
    /// See [`TableFootprint::shape`].
    pub shape: TokenId,
}

/// The same for one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFootprint {
    /// Which.
    pub table: TableId,
    /// The images are of the table as the change of the schema under this token
    /// has left it; zero as it was made.
    pub shape: TokenId,
    /// Hashes of keys that were written, by what the node had applied when it
    /// wrote them. A row is known by the keys of all its unique indexes, old and
    /// new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<(RowLogPosition, Vec<u64>)>,
    /// Every row was written (TRUNCATE), as of this position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_written: Option<RowLogPosition>,
    /// No row may have changed since this position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_read: Option<RowLogPosition>,
}

impl TableFootprint {
    /// Of a transaction that has done nothing to the table yet.
    pub fn new(table: TableId, shape: TokenId) -> Self {
        TableFootprint { table, shape, keys: Vec::new(), all_written: None, all_read: None }
    }

    /// The keys, each with its position.
    pub fn keys(&self) -> impl Iterator<Item = (RowLogPosition, u64)> {
        self.keys.iter().flat_map(|(base, keys)| keys.iter().map(|key| (*base, *key)))
    }

    /// Whether it changes the table.
    pub fn writes(&self) -> bool {
        self.all_written.is_some() || !self.keys.is_empty()
    }
}
