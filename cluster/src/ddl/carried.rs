//! A user's statement on its way to another node.

use serde::{Deserialize, Serialize};

use crate::TableId;

/// How a statement about a parent treats its foreign leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForeignLeaves {
    /// It changes them like any leaf.
    Reach,
    /// It must not reach them: they are hidden while it runs.
    Hide,
    /// PostgreSQL refuses it while there are any, but it changes their columns:
    /// they are hidden while it runs, then dropped and made anew.
    Remake,
}

/// A statement that runs on every node as its user wrote it, with what gives
/// it the same meaning there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedStatement {
    /// One statement, without what stood before and after it.
    pub statement: String,
    /// Settings that change what the text means, by name.
    pub settings: Vec<(String, String)>,
    /// The sharded table that it changes.
    pub table: Option<TableId>,
    /// What becomes of them meanwhile.
    pub foreign_leaves: ForeignLeaves,
    /// Whether it leaves something behind: LOCK TABLE does not.
    pub is_schema_change: bool,
    /// Whether it can fail because of rows, or destroys some.
    pub needs_every_node: bool,
    /// The constraints that it added to the table on the coordinator, in the
    /// order of their creation. A name that PostgreSQL chose depends on what
    /// else is in the schema; this one is in force everywhere.
    pub new_constraints: Vec<String>,
}
