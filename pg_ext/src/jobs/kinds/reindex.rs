//! REINDEX CONCURRENTLY of a sharded table or one of its indexes: each node
//! does its own leaves, one after the other.

use cluster::TableId;
use cluster::sharding::quote_identifier;

use super::leaves::{drop_loose_index, leaf_indexes_of, leaves_of, loose_indexes_of};
use crate::jobs::driving::Driving;
use crate::jobs::kind::{Kind, Next, Tasking};
use crate::jobs::top_level;
use crate::report::Report;

const REBUILD: &str = "rebuild";
const DROP: &str = "drop";

/// What PostgreSQL calls the new index while it is built, and the old one
/// until it is dropped; digits may follow.
const TRANSIENT: [&str; 2] = ["_ccnew", "_ccold"];

/// A table, or one index of it.
pub struct Reindex {
    pub table: TableId,
    pub index: Option<String>,
}

impl Kind for Reindex {
    fn step(&self, driving: &mut Driving) -> Result<Next, Report> {
        driving.wait_for_older_jobs()?;
        driving.run_everywhere(REBUILD)?;
        Ok(Next::Finished(String::new()))
    }

    fn clean_up(&self, driving: &mut Driving) -> Result<Next, Report> {
        driving.run_everywhere(DROP)?;
        Ok(Next::Finished(String::new()))
    }

    fn task(&self, tasking: &Tasking) -> Result<String, Report> {
        self.drop_transient()?;
        match tasking.what.as_str() {
            REBUILD => self.rebuild(tasking),
            DROP => Ok(String::new()),
            _ => Err(tasking.unknown()),
        }
    }
}

impl Reindex {
    fn rebuild(&self, tasking: &Tasking) -> Result<String, Report> {
        let statements: Vec<_> = match &self.index {
            None => leaves_of(self.table)?
                .iter()
                .map(|leaf| format!("REINDEX TABLE CONCURRENTLY {}", leaf.qualified))
                .collect(),
            Some(index) => leaf_indexes_of(index)?
                .iter()
                .map(|index| {
                    let index = quote_identifier(index);
                    format!("REINDEX INDEX CONCURRENTLY shardman_data.{index}")
                })
                .collect(),
        };
        for (done, statement) in statements.iter().enumerate() {
            tasking.note(|| format!("{done} of {} partitions", statements.len()))?;
            top_level::run(statement)?;
        }
        Ok(format!("{0} of {0} partitions", statements.len()))
    }

    /// What an interrupted rebuild has left.
    fn drop_transient(&self) -> Result<(), Report> {
        for index in loose_indexes_of(self.table)? {
            let stem = index.name.trim_end_matches(|c: char| c.is_ascii_digit());
            if !index.is_valid && TRANSIENT.iter().any(|suffix| stem.ends_with(suffix)) {
                drop_loose_index(&index.name)?;
            }
        }
        Ok(())
    }
}
