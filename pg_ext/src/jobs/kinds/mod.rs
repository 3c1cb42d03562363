//! The kinds of jobs, a file each.

mod create_index;
mod drop_index;
mod leaves;
mod move_partition;
mod rebalance;
mod reindex;
mod remove_node;
mod switch;
mod tablespace;

use cluster::jobs::JobKind;

use super::kind::Kind;

/// What carries out a job.
pub fn of(kind: &JobKind) -> Box<dyn Kind> {
    match kind.clone() {
        JobKind::CreateIndex(build) => Box::new(create_index::CreateIndex(build)),
        JobKind::Reindex { table, index, .. } => Box::new(reindex::Reindex { table, index }),
        JobKind::DropIndex { index } => Box::new(drop_index::DropIndex { index }),
        JobKind::CreateTablespace { name, owner, location, options } => {
            Box::new(tablespace::CreateTablespace { name, owner, location, options })
        }
        JobKind::DropTablespace { name } => Box::new(tablespace::DropTablespace { name }),
        JobKind::MovePartition { group, partition, source, destination, .. } => {
            Box::new(move_partition::MovePartition { group, partition, source, destination })
        }
        JobKind::Rebalance(goal) => Box::new(rebalance::Rebalance(goal)),
        JobKind::RemoveNode { node, force } => Box::new(remove_node::RemoveNode { node, force }),
    }
}
