//! Names of row logs and places in them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A row log: 1, 2, …, never given again.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RowLogId(pub u32);

/// The place of an entry in its row log: 1, 2, …; 0 is before the first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RowLogPosition(pub u64);

impl fmt::Display for RowLogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for RowLogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl RowLogPosition {
    /// The one behind it.
    pub fn next(self) -> Self {
        RowLogPosition(self.0 + 1)
    }

    /// The one before it; the start stays.
    pub fn previous(self) -> Self {
        RowLogPosition(self.0.saturating_sub(1))
    }
}
