//! What the driver of a move has nodes do.

use serde::{Deserialize, Serialize};

use super::{Lsn, Relocation};
use crate::metadata::DdlTail;

/// Part of a distributed transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "move")]
pub enum MoveCommand {
    /// Every node: note the move, unless the partition is on the move or not on
    /// its source.
    Register {
        /// The move.
        relocation: Relocation,
        /// The schema change that the node must have applied before.
        after: Option<DdlTail>,
    },
    /// Every node: forget it.
    Forget(Relocation),
    /// Source and destination: keep others away from the tables.
    Lock {
        /// The move.
        relocation: Relocation,
        /// The bound of each wait, in milliseconds.
        timeout_ms: u32,
    },
    /// Every node: the shard map; source and destination: real and foreign leaf
    /// change places.
    Switch(Relocation),
}

/// A piece of work in a transaction of its own, on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "work")]
pub enum MoveWork {
    /// Returns an [`ObservedSource`](super::ObservedSource).
    ObserveSource(Relocation),
    /// Returns an [`ObservedDestination`](super::ObservedDestination).
    ObserveDestination(Relocation),
    /// On the source.
    Publish(Relocation),
    /// On the source.
    MakeSlot(Relocation),
    /// On the source: returns a [`SourceDescription`].
    Describe(Relocation),
    /// On the destination.
    MakeLeaves {
        /// The move.
        relocation: Relocation,
        /// The source's.
        description: SourceDescription,
    },
    /// On the destination, as fast as its settings allow.
    Copy(Relocation),
    /// On the destination.
    MakeIndexes {
        /// The move.
        relocation: Relocation,
        /// The source's.
        description: SourceDescription,
    },
    /// On the destination: returns a [`CaughtUp`].
    CatchUp(Relocation),
    /// On the source: returns a position that is on disk, after everything that
    /// was committed before.
    Flush,
    /// On the source and on the destination: returns who has locks on the tables, a
    /// line each.
    HoldersOfLocks(Relocation),
    /// On the source: returns the transactions that a slot waits for, a line each.
    OldTransactions,
    /// On the destination.
    Discard(Relocation),
    /// On the source and on the destination.
    CleanUp(Relocation),
    /// Takes note of a step for who looks on. On the destination.
    Note {
        /// The move.
        relocation: Relocation,
        /// A word.
        phase: String,
    },
}

/// What there is to move.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceDescription {
    /// By table id.
    pub leaves: Vec<LeafDescription>,
}

/// One leaf.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafDescription {
    /// Its name.
    pub name: String,
    /// Of its rows and TOAST.
    pub bytes: i64,
    /// As the planner believes.
    pub rows: i64,
    /// Of the table itself, those of constraints first.
    pub indexes: Vec<Index>,
    /// `fillfactor=70`, …
    pub options: Vec<String>,
}

/// An index of a leaf.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// `PRIMARY KEY (id)`, `UNIQUE (a)`; `None` if no constraint needs it.
    pub constraint: Option<String>,
    /// What follows the name in CREATE INDEX.
    pub definition: String,
    /// `CREATE UNIQUE INDEX`.
    pub is_unique: bool,
}

/// How far the copy has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaughtUp {
    /// Everything that was committed before this position is in the copy.
    pub applied: Lsn,
    /// Bytes of WAL on the source that were not looked at.
    pub behind: u64,
    /// Changes applied this time.
    pub changes: u64,
}
