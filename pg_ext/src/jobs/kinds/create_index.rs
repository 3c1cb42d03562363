//! CREATE INDEX CONCURRENTLY on a sharded table.
//!
//! PostgreSQL refuses it for partitioned tables. So each node builds an index on
//! each of its leaves, concurrently; then an ordinary CREATE INDEX on the parent,
//! in one transaction on all nodes, finds them and has nothing left to build.
//! That transaction locks out writers for as long as it lasts, a moment, and
//! gives up and tries again where it would have to wait for them.
#![allow(unsafe_code)]

use cluster::jobs::{Ending, IndexBuild, JobId};
use cluster::sharding::{LeafName, quote_identifier};
use pgrx::prelude::*;
use serde::{Deserialize, Serialize};

use super::leaves::{drop_loose_index, leaves_of, loose_indexes_of};
use super::switch;
use crate::catalog::{qualified_name, registry};
use crate::jobs::driving::Driving;
use crate::jobs::kind::{Kind, Next, Tasking};
use crate::jobs::{top_level, work};
use crate::report::Report;

const BUILD: &str = "build";
const DROP: &str = "drop";

/// An index to be built.
pub struct CreateIndex(pub IndexBuild);

/// Where the job is.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// The nodes build on their leaves.
    #[default]
    Building,
    /// The parent had these indexes, by OID of the node that drives, and is to
    /// get another one.
    Attaching {
        /// Which node that is.
        on: u32,
        /// OIDs.
        before: Vec<u32>,
    },
}

impl Kind for CreateIndex {
    fn step(&self, driving: &mut Driving) -> Result<Next, Report> {
        match driving.state()? {
            State::Building => {
                driving.wait_for_older_jobs()?;
                driving.run_everywhere(BUILD)?;
                let before = work::in_transaction(|| self.indexes_of_parent())?;
                let on = driving.job().driver.map_or(0, |node| node.0);
                driving.save(&State::Attaching { on, before })?;
                Ok(Next::Again)
            }
            State::Attaching { on, before } => {
                let here = driving.job().driver.map_or(0, |node| node.0);
                let owner = driving.job().owner.clone();
                work::in_transaction(|| {
                    // An earlier attempt may have come as far as its commit.
                    if self.is_there(on == here, &before)? { Ok(()) } else { self.attach(&owner) }
                })?;
                Ok(Next::Finished(String::new()))
            }
        }
    }

    fn clean_up(&self, driving: &mut Driving) -> Result<Next, Report> {
        driving.run_everywhere(DROP)?;
        debug_assert!(matches!(driving.ending(), Some(Ending::Failed | Ending::Canceled)));
        Ok(Next::Finished(String::new()))
    }

    fn task(&self, tasking: &Tasking) -> Result<String, Report> {
        match tasking.what.as_str() {
            BUILD => self.build(tasking),
            DROP => self.drop_built(tasking.job.id),
            _ => Err(tasking.unknown()),
        }
    }
}

impl CreateIndex {
    fn build(&self, tasking: &Tasking) -> Result<String, Report> {
        let id = tasking.job.id;
        let leaves = leaves_of(self.0.table)?;
        let there = loose_indexes_of(self.0.table)?;
        for (done, leaf) in leaves.iter().enumerate() {
            tasking.note(|| format!("{done} of {} partitions", leaves.len()))?;
            let name = index_name(id, &leaf.name);
            match there.iter().find(|index| index.name == name) {
                Some(index) if index.is_valid => continue,
                // Its build was interrupted: what is left cannot be continued.
                Some(_) => drop_loose_index(&name)?,
                None => {}
            }
            let unique = if self.0.is_unique { "UNIQUE " } else { "" };
            top_level::run(&format!(
                "CREATE {unique}INDEX CONCURRENTLY {} ON {} {}",
                quote_identifier(&name),
                leaf.qualified,
                self.0.definition
            ))?;
        }
        Ok(format!("{0} of {0} partitions", leaves.len()))
    }

    /// What became part of the parent's index is no more ours.
    fn drop_built(&self, id: JobId) -> Result<String, Report> {
        let suffix = index_suffix(id);
        let built = loose_indexes_of(self.0.table)?;
        let built: Vec<_> = built.iter().filter(|index| index.name.ends_with(&suffix)).collect();
        for index in &built {
            drop_loose_index(&index.name)?;
        }
        Ok(format!("dropped from {} partitions", built.len()))
    }

    fn parent(&self) -> Result<pg_sys::Oid, Report> {
        let registry = registry()?;
        registry.table(self.0.table).map(|table| table.rel).ok_or_else(|| {
            Report::new(
                PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
                format!("table {} was dropped meanwhile", self.0.relation),
            )
        })
    }

    fn indexes_of_parent(&self) -> Result<Vec<u32>, Report> {
        let found = Spi::get_one_with_args::<Vec<pg_sys::Oid>>(
            "SELECT pg_catalog.array_agg(indexrelid) FROM pg_catalog.pg_index
             WHERE indrelid OPERATOR(pg_catalog.=) $1",
            &[self.parent()?.into()],
        )?;
        Ok(found.unwrap_or_default().into_iter().map(pg_sys::Oid::to_u32).collect())
    }

    /// Whether the parent has the index. OIDs say something on one node only;
    /// elsewhere an index of the same definition is taken for it.
    fn is_there(&self, is_same_node: bool, before: &[u32]) -> Result<bool, Report> {
        let now = self.indexes_of_parent()?;
        for index in now.iter().filter(|index| !is_same_node || !before.contains(index)) {
            let described = Spi::get_one_with_args::<String>(
                "SELECT shardman.describe_index($1)",
                &[pg_sys::Oid::from(*index).into()],
            )?;
            let has_name = self.0.name.as_ref().is_none_or(|name| {
                // SAFETY: a syscache look-up; a palloc'd name or null.
                let found = unsafe { pg_sys::get_rel_name(pg_sys::Oid::from(*index)) };
                // SAFETY: as above.
                unsafe { crate::lists::text(found) == *name }
            });
            if has_name && described.is_some_and(|it| it.ends_with(&self.0.definition)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn attach(&self, owner: &str) -> Result<(), Report> {
        let unique = if self.0.is_unique { "UNIQUE " } else { "" };
        let name = self.0.name.as_deref().map(quote_identifier).unwrap_or_default();
        let table = qualified_name(self.parent()?);
        let definition = &self.0.definition;
        switch::run_as(owner, &format!("CREATE {unique}INDEX {name} ON {table} {definition}"))
    }
}

fn index_suffix(id: JobId) -> String {
    format!("_job{id}")
}

/// The index of a leaf while it is only the job's.
fn index_name(id: JobId, leaf: &LeafName) -> String {
    format!("shard_{}_{}{}", leaf.table, leaf.partition, index_suffix(id))
}
