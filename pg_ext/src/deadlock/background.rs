//! The deadlock detector of a node: it looks when something here waits.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use cluster::deadlock::WaitGraph;
use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;

use super::round::{Observers, Round};
use super::victim::{EPOCH, waiting_since};
use crate::membership::my_identity_if_any;
use crate::report::Report;
use crate::shared_memory::places;
use crate::worker::process;
use crate::{catalog, compat};

/// Between two looks at this node's own waits, which are a look at an array.
const INTERVAL: Duration = Duration::from_millis(100);
/// A wait that was looked into and goes on is looked into again after this,
/// and after twice as long each time: a node may not have answered.
const AGAIN: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(16);

/// A wait for a lock: process id, and since when.
type Wait = (i32, i64);

/// When a wait is looked into again.
struct Known {
    due: Instant,
    pause: Duration,
}

/// Registers the worker. Called while the library is preloaded.
pub fn register() {
    process::register("shardman deadlock detector", "shardman_deadlock_main");
}

#[allow(missing_docs)]
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn shardman_deadlock_main(_argument: pg_sys::Datum) {
    process::begin();
    let mut observers = Observers::default();
    let mut known = HashMap::new();
    let mut told = Vec::new();
    while process::wait(INTERVAL) {
        // Sessions are opened while there is still time.
        let patience = deadlock_timeout();
        let waits = long_waits(patience / 2);
        if waits.iter().any(|(wait, _)| !known.contains_key(wait)) {
            prepare(&mut observers);
        }
        let waits: Vec<_> = waits
            .into_iter()
            .filter(|(_, waited)| *waited >= patience)
            .map(|(wait, _)| wait)
            .collect();
        if !is_any_due(&mut known, &waits) {
            continue;
        }
        let troubles = match look(&mut observers) {
            Ok(troubles) => troubles,
            Err(report) => vec![format!("could not look for deadlocks: {}", report.message)],
        };
        // The same trouble is told once, not with every look.
        if troubles != told {
            troubles.iter().for_each(|trouble| warning!("shardman: {trouble}"));
            told = troubles;
        }
    }
}

fn deadlock_timeout() -> Duration {
    // SAFETY: reads the setting.
    Duration::from_millis(u64::try_from(unsafe { pg_sys::DeadlockTimeout }).unwrap_or(0))
}

/// The waits of this node's distributed transactions that have gone on for
/// some time, and for how long. Raises nothing and takes no lock.
fn long_waits(patience: Duration) -> Vec<(Wait, Duration)> {
    let mut found = Vec::new();
    // SAFETY: the first PGPROCs are the backends', as many as there are places;
    // they are never freed, and what is read of them may change any time: it
    // is only a reason to look closer.
    unsafe {
        let now = pg_sys::GetCurrentTimestamp() + EPOCH;
        let processes = (*pg_sys::ProcGlobal).allProcs;
        for at in 0..places().len() {
            let process = processes.add(at);
            if (*process).waitLock.is_null() || (*process).databaseId != pg_sys::MyDatabaseId {
                continue;
            }
            let since = waiting_since(process);
            // Not noted yet, for zero of PostgreSQL's epoch.
            if since == EPOCH {
                continue;
            }
            let waited = Duration::from_micros(u64::try_from(now - since).unwrap_or(0));
            if waited < patience {
                continue;
            }
            let leader = (*process).lockGroupLeader;
            let worker_of = if leader.is_null() { process } else { leader };
            let Some(place) = places().get(compat::process_number(worker_of)) else { continue };
            let transaction = compat::transaction_of(worker_of);
            if place.serves((*worker_of).pid).is_some()
                || !place.coordinates(transaction).is_empty()
            {
                found.push((((*process).pid, since), waited));
            }
        }
    }
    found
}

/// Whether a wait is new or was looked into long ago; then all of them are
/// taken as looked into now.
fn is_any_due(known: &mut HashMap<Wait, Known>, waits: &[Wait]) -> bool {
    known.retain(|wait, _| waits.contains(wait));
    let now = Instant::now();
    let is_due = waits.iter().any(|wait| known.get(wait).is_none_or(|known| known.due <= now));
    if is_due {
        for wait in waits {
            let entry = known.entry(*wait).or_insert(Known { due: now, pause: AGAIN });
            if entry.due <= now {
                entry.due = now + entry.pause;
                entry.pause = (entry.pause * 2).min(LATEST);
            }
        }
    }
    is_due
}

/// Looks twice at all nodes and ends what stands both times. Returns what an
/// operator should know.
fn look(observers: &mut Observers) -> Result<Vec<String>, Report> {
    let first = round(observers)?;
    let graph = WaitGraph::join(&first.reports);
    if graph.deadlocks().is_empty() {
        return Ok(first.troubles);
    }
    let second = round(observers)?;
    let deadlocks = graph.standing(&WaitGraph::join(&second.reports)).deadlocks();
    let Some(identity) = my_identity_if_any()? else { return Ok(Vec::new()) };
    for deadlock in &deadlocks {
        let victim = deadlock.victim();
        if observers.end(deadlock, identity.node_id)? {
            log!(
                "shardman: deadlock between nodes, ended by failing the transaction of process {} on node {}\nDETAIL:  {}",
                victim.pid,
                victim.node,
                deadlock.detail().replace('\n', "\n\t")
            );
        }
    }
    Ok(second.troubles)
}

/// Opens the sessions that a look will need.
fn prepare(observers: &mut Observers) {
    BackgroundWorker::transaction(AssertUnwindSafe(|| {
        if catalog::is_installed() {
            observers.open();
        }
    }));
}

/// In a transaction of its own: what PostgreSQL tells of activity stays the
/// same within one.
fn round(observers: &mut Observers) -> Result<Round, Report> {
    // SAFETY of unwinding: an error ends the process, which starts anew.
    BackgroundWorker::transaction(AssertUnwindSafe(|| {
        if catalog::is_installed() { observers.look() } else { Ok(Round::default()) }
    }))
}
