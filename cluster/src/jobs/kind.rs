//! What jobs there are.

use serde::{Deserialize, Serialize};

use crate::{NodeId, PartitionNumber, TableId};

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
    /// Moves a partition of a colocation group to another node.
    MovePartition {
        /// What people call it: the leaf of one table of the group.
        part_name: String,
        /// The group.
        group: TableId,
        /// Of every table of the group.
        partition: PartitionNumber,
        /// Where it is.
        source: NodeId,
        /// Where it goes.
        destination: NodeId,
    },
    /// Moves partitions so that nodes hold alike, or some hold none.
    Rebalance(RebalanceGoal),
    /// Takes an empty node out of the cluster.
    RemoveNode {
        /// Which.
        node: NodeId,
        /// Even if it holds partitions, which are lost.
        force: bool,
    },
}

/// What a rebalancing is to bring about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebalanceGoal {
    /// Only this colocation group; all if none.
    pub group: Option<TableId>,
    /// Bytes are to be alike, not the number of partitions.
    pub by_size: bool,
    /// Nodes that are to hold nothing.
    pub without: Vec<NodeId>,
    /// Partitions of other nodes move, too, so that all hold alike.
    pub evens_out: bool,
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
            JobKind::MovePartition { .. } => "move",
            JobKind::Rebalance(RebalanceGoal { evens_out: false, .. }) => "drain_node",
            JobKind::Rebalance(_) => "rebalance",
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
            JobKind::MovePartition { part_name, source, destination, .. } => {
                vec![part_name.clone(), source.to_string(), destination.to_string()]
            }
            JobKind::Rebalance(goal) => goal
                .group
                .iter()
                .map(|group| format!("group {group}"))
                .chain(goal.by_size.then(|| "by size".to_owned()))
                .chain(goal.without.iter().map(|node| format!("without node {node}")))
                .collect(),
            JobKind::RemoveNode { node, force } => vec![node.to_string(), force.to_string()],
        }
    }
}
