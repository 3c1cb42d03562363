//! What jobs there are.

use serde::{Deserialize, Serialize};

use crate::{NodeId, TableId};

/// What a job is to do. Variants are only ever added: an old log must replay
/// under a new version. What each does is in a file of its own under
/// `pg_ext/src/jobs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// CREATE INDEX CONCURRENTLY on a sharded table.
    CreateIndex(IndexBuild),
    /// REINDEX CONCURRENTLY of a sharded table, or of one of its indexes.
    Reindex {
        /// Which table.
        table: TableId,
        /// Its name when the job was submitted, for people.
        relation: String,
        /// The index, qualified; all of the table if none.
        index: Option<String>,
    },
    /// DROP INDEX CONCURRENTLY of a sharded table's index.
    DropIndex {
        /// Qualified and quoted.
        index: String,
    },
    /// CREATE TABLESPACE on every node.
    CreateTablespace {
        /// Its name.
        name: String,
        /// The role that is to own it.
        owner: String,
        /// With `{rgid}` where the node's id is to stand.
        location: String,
        /// Its options as elements of a WITH list.
        options: Vec<String>,
    },
    /// DROP TABLESPACE on every node.
    DropTablespace {
        /// Its name.
        name: String,
    },
    /// Takes an empty node out of the cluster.
    RemoveNode {
        /// Which.
        node: NodeId,
        /// Even if it holds partitions, which are lost.
        force: bool,
    },
}

/// An index as the statement described it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexBuild {
    /// Of which table.
    pub table: TableId,
    /// Its name when the job was submitted, for people.
    pub relation: String,
    /// Without it PostgreSQL chooses one.
    pub name: Option<String>,
    /// Whether it is unique.
    pub is_unique: bool,
    /// From USING on, every name qualified.
    pub definition: String,
}

impl JobKind {
    /// The name that `shardman.cmd_log` shows.
    pub fn name(&self) -> &'static str {
        match self {
            JobKind::CreateIndex(_) => "create_index",
            JobKind::Reindex { .. } => "reindex",
            JobKind::DropIndex { .. } => "drop_index",
            JobKind::CreateTablespace { .. } => "create_tablespace",
            JobKind::DropTablespace { .. } => "drop_tablespace",
            JobKind::RemoveNode { .. } => "rm_node",
        }
    }

    /// What `shardman.cmd_opts` shows, in order.
    pub fn options(&self) -> Vec<String> {
        match self {
            JobKind::CreateIndex(IndexBuild { relation, name, definition, .. }) => {
                vec![relation.clone(), name.clone().unwrap_or_default(), definition.clone()]
            }
            JobKind::Reindex { relation, index, .. } => {
                std::iter::once(relation.clone()).chain(index.clone()).collect()
            }
            JobKind::DropIndex { index } => vec![index.clone()],
            JobKind::CreateTablespace { name, location, .. } => {
                vec![name.clone(), location.clone()]
            }
            JobKind::DropTablespace { name } => vec![name.clone()],
            JobKind::RemoveNode { node, force } => vec![node.to_string(), force.to_string()],
        }
    }
}
