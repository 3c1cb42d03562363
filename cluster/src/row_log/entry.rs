//! What one transaction did to the tables of row logs.

use serde::{Deserialize, Serialize};

use super::{Bytes, Footprint, RowLogId};
use crate::txn::TransactionName;

/// Row images of one transaction, in bytes, all logs together. The Raft thread
/// handles an entry as a whole, and heartbeats wait behind it.
pub const MAX_ENTRY_BYTES: usize = 4 * 1024 * 1024;

/// Whether the log alone can bring an entry about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowEntryKind {
    /// The transaction was nothing else: accepted means committed.
    Complete,
    /// The transaction did more: its own commit decides.
    Intent,
}

/// How an accepted entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    /// An intent whose transaction has not ended.
    Pending,
    /// It is to be on every node.
    Committed,
    /// An intent whose transaction was rolled back.
    Aborted,
}

/// What a transaction did, by log: all of it is accepted or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowEntry {
    /// The transaction.
    pub transaction: TransactionName,
    /// What accepting it means.
    pub kind: RowEntryKind,
    /// One for each log.
    pub parts: Vec<RowPart>,
}

/// What it did in one log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPart {
    /// Which log.
    pub log: RowLogId,
    /// What it depends on.
    pub footprint: Footprint,
    /// Changes of rows in the order in which they were made: opaque here.
    pub changes: Bytes,
}

impl RowEntry {
    /// The size of its row images.
    pub fn size(&self) -> usize {
        self.parts.iter().map(|part| part.changes.0.len()).sum()
    }
}
