//! What can be wrong with a history.

use std::fmt;

/// An anomaly; transactions are positions in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// A value that nobody appended, or one twice in a list.
    Garbage {
        /// Who read it.
        reader: usize,
        /// What.
        value: u64,
    },
    /// A transaction does not see its own appends, or its list changes without.
    Internal {
        /// Who.
        reader: usize,
        /// Which list.
        key: u32,
    },
    /// Two readers saw different orders in one list.
    IncompatibleOrder {
        /// Which list.
        key: u32,
    },
    /// A committed append is not there in the end.
    LostAppend {
        /// Who appended.
        writer: usize,
        /// What.
        value: u64,
    },
    /// Read from a transaction that was rolled back.
    G1a {
        /// Who appended.
        writer: usize,
        /// Who read.
        reader: usize,
    },
    /// Read a state in the middle of another transaction.
    G1b {
        /// Who appended.
        writer: usize,
        /// Who read.
        reader: usize,
    },
    /// Writers of writers: a cycle of write dependencies.
    G0(Vec<usize>),
    /// A cycle of write and read dependencies.
    G1c(Vec<usize>),
    /// Two transactions read the same state of a list and both appended to it.
    LostUpdate {
        /// Which list.
        key: u32,
        /// The two.
        writers: (usize, usize),
    },
    /// A cycle with one anti-dependency: a reader saw a part of a transaction.
    GSingle(Vec<usize>),
    /// A cycle with several anti-dependencies, no two in a row: two readers saw
    /// two writers in different orders.
    LongFork(Vec<usize>),
    /// Began after a commit was answered and does not see it.
    Stale {
        /// Who committed.
        writer: usize,
        /// Who read.
        reader: usize,
    },
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
