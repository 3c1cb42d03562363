//! A statement that the router takes.

use pgrx::pg_sys;
use pgrx::pg_sys::Node;

use super::column_pins::Place;

/// One column of the partition key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Index of the parameter that holds the value; `None` for NULL.
    pub parameter: Option<usize>,
    /// What hashes it.
    pub function: pg_sys::Oid,
    /// With which collation.
    pub collation: pg_sys::Oid,
}

/// A sharded table in one of the statement's queries.
#[derive(Clone, Copy)]
pub struct Table {
    /// Query and range table index.
    pub place: Place,
    /// The parent.
    pub relid: pg_sys::Oid,
}

/// A row that a policy does not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The table.
    pub relation: String,
    /// The policy, where it is the only one.
    pub policy: Option<String>,
}

/// What must be true before the statement is run.
pub struct RowCheck {
    /// Index of the parameter that holds the truth.
    pub parameter: usize,
    /// If it is not true.
    pub violation: Violation,
}

/// How often a statement is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// For the partition that its key names.
    Once,
    /// For each partition, whose number is given to the parameter of this index, if
    /// the statement asks for it.
    EachPartition(Option<usize>),
}

/// What is known of it when it is planned.
pub struct Routed {
    /// The statement with `$n` in place of what is computed here; its range table
    /// is still the original's.
    pub query: *mut pg_sys::Query,
    /// What `$1`, `$2`, … stand for.
    pub values: Vec<*mut Node>,
    /// Its sharded tables.
    pub tables: Vec<Table>,
    /// The key of all of them.
    pub keys: Vec<Key>,
    /// Checks of new rows.
    pub checks: Vec<RowCheck>,
    /// How often it is run.
    pub repetition: Repetition,
}
