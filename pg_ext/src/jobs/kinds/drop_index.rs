//! DROP INDEX CONCURRENTLY of a sharded table's index.
//!
//! PostgreSQL refuses it for partitioned indexes. Dropping one takes a moment;
//! what CONCURRENTLY is to spare others is the queue behind a lock that is not
//! to be had. So it is an ordinary DROP INDEX that gives up and tries again.

use pgrx::prelude::*;

use super::switch;
use crate::jobs::driving::Driving;
use crate::jobs::kind::{Kind, Next};
use crate::jobs::work;
use crate::report::Report;

/// An index.
pub struct DropIndex {
    pub index: String,
}

impl Kind for DropIndex {
    fn step(&self, driving: &mut Driving) -> Result<Next, Report> {
        driving.wait_for_older_jobs()?;
        let owner = driving.job().owner.clone();
        work::in_transaction(|| {
            let is_there = Spi::get_one_with_args::<bool>(
                "SELECT pg_catalog.to_regclass($1) IS NOT NULL",
                &[self.index.as_str().into()],
            )?;
            // Gone already: an earlier attempt came as far as its commit.
            if is_there != Some(true) {
                return Ok(());
            }
            switch::run_as(&owner, &format!("DROP INDEX {}", self.index))
        })?;
        Ok(Next::Finished(String::new()))
    }
}
