//! The launcher of a node: it keeps a worker for each log, and sees to it that
//! nobody stands in a worker's way for long.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cluster::row_log::RowLogId;
use pgrx::bgworkers::{BackgroundWorkerStatus, DynamicBackgroundWorker};
use pgrx::prelude::*;
use raft::{Request, Response};

use super::applier;
use super::memory;
use super::refusal::unexpected;
use crate::catalog;
use crate::deadlock::give_way;
use crate::jobs::{in_transaction, outside, pause};
use crate::membership::my_identity_if_any;
use crate::report::Report;
use crate::worker::{self, process};

/// Between two looks at what logs there are.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks at workers that are waited for.
const WATCH: Duration = Duration::from_millis(50);
/// A worker that has been at an entry for so long is in somebody's way, or
/// somebody is in its, in milliseconds.
const LONG: u64 = 100;
/// Who neither ends nor runs anything loses its connection after this time.
const PATIENCE: Duration = Duration::from_secs(1);

/// Registers the launcher. Called while the library is preloaded.
pub fn register() {
    process::register("shardman log launcher", "shardman_row_log_launcher_main");
}

#[allow(missing_docs)]
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn shardman_row_log_launcher_main(_argument: pg_sys::Datum) {
    process::begin();
    crate::gate::pass_freely();
    let mut launcher = Launcher::default();
    let mut told = String::new();
    launcher.end_orphans();
    // Asked once each time round: the answer takes the signal away.
    let mut is_over = false;
    while !is_over {
        match launcher.look() {
            Ok(()) => told.clear(),
            Err(report) if told != report.message => {
                // The same trouble is told once, not every second.
                told = report.message.clone();
                log!("shardman: could not look at logs: {told}");
            }
            Err(_) => {}
        }
        let begun = Instant::now();
        while begun.elapsed() < LOOK && !is_over {
            let has_workers = !launcher.workers.is_empty();
            if has_workers && let Err(report) = launcher.watch() {
                log!("shardman: could not look at who holds up a log: {}", report.message);
            }
            let rest = if has_workers { WATCH } else { LOOK };
            outside(|| {
                pause(rest);
                Ok(())
            })
            .ok();
            is_over = process::is_told_to_end();
        }
    }
}

#[derive(Default)]
struct Launcher {
    workers: HashMap<RowLogId, DynamicBackgroundWorker>,
    /// Since when a process has been in the way.
    in_the_way: HashMap<i32, Instant>,
}

impl Launcher {
    /// Workers whose launcher was lost: they would work beside ours.
    fn end_orphans(&self) {
        let ended = in_transaction(|| {
            Ok(Spi::run_with_args(
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
                 WHERE backend_type OPERATOR(pg_catalog.=) $1",
                &[applier::TYPE.into()],
            )?)
        });
        if let Err(report) = ended {
            log!("shardman: could not end workers of logs: {}", report.message);
        }
    }

    fn look(&mut self) -> Result<(), Report> {
        let is_ready = in_transaction(|| Ok(catalog::is_installed()))?;
        if !is_ready || my_identity_if_any()?.is_none() {
            return Ok(());
        }
        let view = match outside(|| worker::ask(&Request::RowLogs))? {
            Response::RowLogs(view) => view,
            other => return Err(unexpected(other)),
        };
        self.workers.retain(|_, worker| {
            !matches!(
                worker.pid(),
                Err(BackgroundWorkerStatus::Stopped | BackgroundWorkerStatus::PostmasterDied)
            )
        });
        let logs: Vec<_> = view.logs.iter().map(|log| log.id).collect();
        memory::keep(&logs);
        for log in logs {
            if self.workers.contains_key(&log) {
                continue;
            }
            match applier::start(log) {
                Some(worker) => drop(self.workers.insert(log, worker)),
                None => {
                    return Err(Report::new(
                        PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
                        "no background worker is free for a log; raise max_worker_processes",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Has whoever holds up a worker give way: the log has decided about the rows
    /// that it holds.
    fn watch(&mut self) -> Result<(), Report> {
        let mut blockers = Vec::new();
        for log in self.workers.keys() {
            let Some(slot) = memory::slot(*log) else { continue };
            let since = slot.busy_since.load(Ordering::Acquire);
            let worker = slot.worker.load(Ordering::Acquire);
            if since == 0 || worker == 0 || memory::now().saturating_sub(since) < LONG {
                continue;
            }
            blockers.extend(in_transaction(|| blockers_of(worker))?);
        }
        self.in_the_way.retain(|pid, _| blockers.iter().any(|(other, _)| other == pid));
        for (pid, is_idle) in blockers {
            let since = *self.in_the_way.entry(pid).or_insert_with(Instant::now);
            if !is_idle {
                give_way(pid, "A log has decided about rows that the transaction holds.");
            } else if since.elapsed() > PATIENCE {
                log!(
                    "shardman: ending process {pid}, which idles in a transaction that a log cannot wait for"
                );
                // SAFETY: a process of this server, a moment ago.
                unsafe { libc::kill(pid, libc::SIGTERM) };
            }
        }
        Ok(())
    }
}

/// Clients that a worker waits for, directly or not, and whether each is idle.
/// Those that have appended their changes are not among them: they wait for the
/// worker and hold nothing that it wants.
fn blockers_of(worker: i32) -> Result<Vec<(i32, bool)>, Report> {
    let rows = Spi::connect(|client| {
        let found = client.select(
            "WITH RECURSIVE blocker(pid) AS (
                 SELECT pg_catalog.unnest(pg_catalog.pg_blocking_pids($1))
                 UNION
                 SELECT pg_catalog.unnest(pg_catalog.pg_blocking_pids(pid)) FROM blocker WHERE pid > 0)
             SELECT a.pid, a.state OPERATOR(pg_catalog.=) ANY (ARRAY['idle in transaction', 'idle in transaction (aborted)'])
             FROM blocker JOIN pg_catalog.pg_stat_activity AS a ON a.pid = blocker.pid
             WHERE a.backend_type OPERATOR(pg_catalog.=) 'client backend'",
            None,
            &[worker.into()],
        )?;
        let mut rows = Vec::new();
        for row in found {
            if let Some(pid) = row.get::<i32>(1)? {
                rows.push((pid, row.get::<bool>(2)?.unwrap_or_default()));
            }
        }
        Ok::<_, pgrx::spi::Error>(rows)
    })?;
    Ok(rows.into_iter().filter(|(pid, _)| !crate::deadlock::has_asked_log(*pid)).collect())
}
