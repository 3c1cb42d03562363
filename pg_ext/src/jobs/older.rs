//! Jobs that wait for older ones.

use cluster::jobs::{Job, JobId, Jobs, Member, Named, ahead_of};
use pgrx::prelude::*;

use crate::catalog::registry;
use crate::report::Report;

/// The older job that works at the same tables, as far as this node knows them. In
/// a transaction.
pub fn older_job(job: &Job, jobs: &Jobs) -> Result<Option<JobId>, Report> {
    let registry = registry()?;
    Ok(ahead_of(job, jobs, |named| {
        let table = match named {
            Named::Table(table) => registry.table(table),
            Named::Index(index) => registry.table_of(table_of_index(index)?),
        }?;
        Some(Member { table: table.table_id, group: table.group_id })
    }))
}

/// The table of an index, given qualified and quoted; none if there is no such index.
fn table_of_index(index: &str) -> Option<pg_sys::Oid> {
    Spi::get_one_with_args::<pg_sys::Oid>(
        "SELECT (SELECT indrelid FROM pg_catalog.pg_index
                 WHERE indexrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1))",
        &[index.into()],
    )
    .ok()
    .flatten()
}

/// What people are told of it.
pub fn waits_for(older: JobId, jobs: &Jobs) -> String {
    let kind = jobs.get(older).map_or("job", |job| job.kind.name());
    format!("waits for job {older} ({kind}), which works at the same tables")
}
