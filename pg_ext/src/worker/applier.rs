//! Bringing the member list of the metadata log into `shardman.node`.
#![allow(unsafe_code)]

use std::sync::Arc;

use cluster::LogIndex;
use cluster::metadata::Metadata;
use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;

use crate::catalog::find_catalog;
use crate::report::{OrRaise, Report};

/// Holds the newest state that is not yet in PostgreSQL. States in between may
/// be skipped: each is complete.
#[derive(Default)]
pub struct Applier {
    pending: Option<(LogIndex, Arc<Metadata>)>,
}

impl Applier {
    /// Takes a state to apply.
    pub fn note(&mut self, index: LogIndex, metadata: Arc<Metadata>) {
        self.pending = Some((index, metadata));
    }

    /// Drops what was pending: the server is no member any more.
    pub fn forget(&mut self) {
        self.pending = None;
    }

    /// Applies what is pending, in a transaction of its own. Returns whether
    /// something is left to try later: before CREATE EXTENSION.
    pub fn apply_pending(&mut self) -> bool {
        let Some((index, metadata)) = self.pending.take() else { return false };
        let nodes = metadata.nodes().map(|node| {
            serde_json::json!({
                "id": node.id.0,
                "name": node.name,
                "connstr": node.connstr,
                // A bigint column: the same 64 bits.
                "system_identifier": node.system_identifier.0 as i64,
                "state": node.state.as_str(),
            })
        });
        let nodes = serde_json::Value::from_iter(nodes).to_string();
        let epoch = metadata.epoch();
        let done = BackgroundWorker::transaction(|| {
            let Some(table) = find_catalog(c"node") else { return false };
            apply(&nodes, epoch, index).or_raise();
            // SAFETY: the catalogue exists; we are in a transaction.
            unsafe { pg_sys::CacheInvalidateRelcacheByRelid(table) };
            true
        });
        if !done {
            self.pending = Some((index, metadata));
        }
        !done
    }
}

fn apply(nodes: &str, epoch: u64, index: LogIndex) -> Result<(), Report> {
    let wanted = "SELECT * FROM jsonb_to_recordset($1::jsonb)
         AS n(id integer, name text, connstr text, system_identifier bigint, state text)";
    Spi::run_with_args(
        &format!("DELETE FROM shardman.node WHERE id NOT IN (SELECT id FROM ({wanted}) AS w)"),
        &[nodes.into()],
    )?;
    Spi::run_with_args(
        &format!(
            "INSERT INTO shardman.node AS n {wanted}
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, connstr = excluded.connstr,
                 system_identifier = excluded.system_identifier, state = excluded.state
             WHERE n IS DISTINCT FROM excluded"
        ),
        &[nodes.into()],
    )?;
    Spi::run_with_args(
        "UPDATE shardman.node_epoch SET epoch = $1 WHERE epoch <> $1",
        &[(epoch as i64).into()],
    )?;
    Spi::run_with_args(
        "UPDATE shardman.log_position SET applied_index = $1 WHERE queue = 'nodes'",
        &[(index.0 as i64).into()],
    )?;
    Ok(())
}
