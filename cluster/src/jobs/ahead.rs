//! Which jobs must not work at the same tables at the same time.

use super::{IndexBuild, Job, JobId, JobKind, Jobs};
use crate::TableId;

/// A sharded table as a job names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// By its id.
    Table(TableId),
    /// By one of its indexes, qualified and quoted.
    Index(&'a str),
}

/// A table and its colocation group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The table.
    pub table: TableId,
    /// Its group.
    pub group: TableId,
}

/// What a job works at, as far as others must keep away from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Places of partitions of a group.
    Places(TableId),
    /// Indexes of a table, on all nodes.
    Indexes(Member),
}

/// The job that has to end before this one begins. An index build and a move of the
/// same colocation group: the index would be missing where the partition arrives, and
/// be made there while everybody waits. Two jobs about indexes of one table: one
/// would find what the other has half-made. The older job goes first, so that none
/// waits in a circle, and what cleans up waits for nobody; `find` looks a table up.
pub fn ahead_of(
    job: &Job,
    jobs: &Jobs,
    find: impl Fn(Named<'_>) -> Option<Member>,
) -> Option<JobId> {
    if job.ending.is_some() {
        return None;
    }
    let mine = work_of(&job.kind, &find)?;
    let older = jobs.all().filter(|other| other.id < job.id && !other.status.is_over());
    let mut others = older.filter_map(|other| Some((other.id, work_of(&other.kind, &find)?)));
    others.find(|(_, other)| collides(mine, *other)).map(|(id, _)| id)
}

fn work_of(kind: &JobKind, find: &impl Fn(Named<'_>) -> Option<Member>) -> Option<Work> {
    match kind {
        JobKind::MovePartition { group, .. } => Some(Work::Places(*group)),
        JobKind::CreateIndex(IndexBuild { table, .. }) | JobKind::Reindex { table, .. } => {
            find(Named::Table(*table)).map(Work::Indexes)
        }
        JobKind::DropIndex { index } => find(Named::Index(index)).map(Work::Indexes),
        JobKind::CreateTablespace { .. } | JobKind::DropTablespace { .. } => None,
        JobKind::Rebalance(_) | JobKind::RemoveNode { .. } => None,
    }
}

/// Moves of a group go on beside each other.
fn collides(one: Work, other: Work) -> bool {
    match (one, other) {
        (Work::Places(_), Work::Places(_)) => false,
        (Work::Places(group), Work::Indexes(of)) | (Work::Indexes(of), Work::Places(group)) => {
            group == of.group
        }
        (Work::Indexes(one), Work::Indexes(other)) => one.table == other.table,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::JobCommand;
    use crate::{NodeId, PartitionNumber};

    fn movement(group: u64) -> JobKind {
        JobKind::MovePartition {
            part_name: String::new(),
            group: TableId(group),
            partition: PartitionNumber(0),
            source: NodeId(1),
            destination: NodeId(2),
        }
    }

    fn index(table: u64) -> JobKind {
        JobKind::Reindex { table: TableId(table), relation: String::new(), index: None }
    }

    /// Jobs 1, 2, … of these kinds.
    fn jobs(kinds: &[JobKind]) -> Jobs {
        let mut jobs = Jobs::default();
        for (number, kind) in kinds.iter().enumerate() {
            let (key, owner) = (number.to_string(), "alice".to_owned());
            let (kind, home) = (kind.clone(), NodeId(1));
            jobs.apply(JobCommand::Submit { key, kind, owner, home, at: 0 }).expect("accepted");
        }
        jobs
    }

    /// Tables 1 and 2 are colocated; index "i" is one of table 2.
    fn find(named: Named<'_>) -> Option<Member> {
        let (table, group) = match named {
            Named::Table(TableId(1)) => (1, 1),
            Named::Table(TableId(2)) | Named::Index("i") => (2, 1),
            Named::Table(TableId(3)) => (3, 3),
            _ => return None,
        };
        Some(Member { table: TableId(table), group: TableId(group) })
    }

    fn ahead(kinds: &[JobKind], job: u64) -> Option<JobId> {
        let jobs = jobs(kinds);
        ahead_of(jobs.get(JobId(job)).expect("it was submitted"), &jobs, find)
    }

    #[test]
    fn a_move_and_an_index_build_of_one_group_wait_for_the_older() {
        let dropping = JobKind::DropIndex { index: "i".to_owned() };
        let kinds = [index(2), movement(1), index(1), movement(3), dropping];
        assert_eq!(ahead(&kinds, 1), None);
        assert_eq!(ahead(&kinds, 2), Some(JobId(1)));
        assert_eq!(ahead(&kinds, 3), Some(JobId(2)));
        assert_eq!(ahead(&kinds, 4), None, "of another group");
        assert_eq!(ahead(&kinds, 5), Some(JobId(1)));
    }

    #[test]
    fn jobs_about_indexes_of_one_table_go_one_after_the_other() {
        assert_eq!(ahead(&[index(1), index(1)], 2), Some(JobId(1)));
        assert_eq!(ahead(&[index(1), index(2)], 2), None);
    }

    #[test]
    fn moves_go_on_beside_each_other() {
        assert_eq!(ahead(&[movement(1), movement(1)], 2), None);
        assert_eq!(ahead(&[movement(1), index(9)], 2), None, "its table is gone");
    }

    #[test]
    fn nobody_waits_for_a_job_that_is_over() {
        let mut jobs = jobs(&[index(1), movement(1)]);
        jobs.apply(JobCommand::Cancel { job: JobId(1), at: 0 }).expect("accepted");
        let second = jobs.get(JobId(2)).expect("it was submitted");
        assert_eq!(ahead_of(second, &jobs, find), None);
    }
}
