//! What one transaction did to the schema.

use std::fmt;
use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use super::TokenId;

/// The version of [`DdlEntry`] and of the commands in it that this code writes
/// and reads.
pub const DDL_FORMAT: u16 = 1;

/// The place of an entry among the accepted ones: 1, 2, …; 0 is before the
/// first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct DdlPosition(pub u64);

impl fmt::Display for DdlPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The last entry that was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DdlTail {
    /// Where it is; 0 if there is none.
    pub position: DdlPosition,
    /// Whose it is.
    pub token: TokenId,
}

/// One command of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DdlStep {
    /// The effective user.
    pub user: String,
    /// The search path in force.
    pub search_path: String,
    /// A [`crate::sharding::NodeCommand`] in JSON: opaque here, so that this
    /// log does not change with it.
    pub command: String,
}

/// Whether the log alone can bring an entry about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// The transaction was nothing else: accepted means committed.
    Complete,
    /// The transaction did more, which the log does not have: its own commit
    /// decides, and the coordinator's node says how it ended.
    Intent,
}

/// Everything that a transaction did to the schema, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DdlEntry {
    /// [`DDL_FORMAT`] of whoever wrote it.
    pub format: u16,
    /// The transaction.
    pub token: TokenId,
    /// What accepting it means.
    pub kind: EntryKind,
    /// `now()` of the transaction, in microseconds since 2000, so that defaults
    /// mean the same wherever and whenever it runs.
    pub now: i64,
    /// What is to be done.
    pub steps: Vec<DdlStep>,
    /// Over all of the above.
    pub checksum: u64,
}

impl DdlEntry {
    /// With this version's format and the checksum that belongs to it.
    pub fn new(token: TokenId, kind: EntryKind, now: i64, steps: Vec<DdlStep>) -> Self {
        let mut entry = DdlEntry { format: DDL_FORMAT, token, kind, now, steps, checksum: 0 };
        entry.checksum = entry.sum();
        entry
    }

    /// Whether it is as it was written.
    pub fn is_intact(&self) -> bool {
        self.checksum == self.sum()
    }

    fn sum(&self) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(0x7368_6172_646d_616e, 0x6464_6c20_656e_7472);
        hasher.write(&self.format.to_le_bytes());
        hasher.write(&self.token.0.to_le_bytes());
        hasher.write(&[matches!(self.kind, EntryKind::Intent).into()]);
        hasher.write(&self.now.to_le_bytes());
        for step in &self.steps {
            for text in [&step.user, &step.search_path, &step.command] {
                hasher.write(&(text.len() as u64).to_le_bytes());
                hasher.write(text.as_bytes());
            }
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_entry_is_not_intact() {
        let step = |user: &str, path: &str| DdlStep {
            user: user.into(),
            search_path: path.into(),
            command: "{}".into(),
        };
        let entry = DdlEntry::new(TokenId(1), EntryKind::Complete, 7, vec![step("ab", "c")]);
        assert!(entry.is_intact());
        // The same letters, divided otherwise.
        assert!(!DdlEntry { steps: vec![step("a", "bc")], ..entry.clone() }.is_intact());
        assert!(!DdlEntry { kind: EntryKind::Intent, ..entry.clone() }.is_intact());
        assert!(!DdlEntry { steps: Vec::new(), ..entry }.is_intact());
    }
}
