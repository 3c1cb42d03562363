//! What a client did.

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Appended a value to a key's list.
    Append {
        /// Which list.
        key: u32,
        /// Appended by nobody else.
        value: u64,
    },
    /// Read a key's list.
    Read {
        /// Which list.
        key: u32,
        /// What was in it.
        list: Vec<u64>,
    },
}

/// What the client heard of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is committed.
    Committed,
    /// It is not.
    Aborted,
    /// Nothing.
    Unknown,
}

/// A transaction; it is called by its position in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// In order.
    pub ops: Vec<Op>,
    /// As the client heard.
    pub outcome: Outcome,
    /// When it began and when the client heard of its end, by one clock.
    pub time: (u64, u64),
}
