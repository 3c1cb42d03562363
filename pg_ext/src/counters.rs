//! How this node's distributed transactions have ended since the server
//! started.

use std::sync::atomic::{AtomicU64, Ordering};

use fdw::Ended;
use pgrx::prelude::*;

use crate::shared_memory::counters;

/// In shared memory; all zeroes at first.
pub struct Counters {
    one_phase: AtomicU64,
    two_phase: AtomicU64,
    aborted: AtomicU64,
    recovered: AtomicU64,
    deadlocks: AtomicU64,
}

/// Counts a transaction that this node coordinated.
pub fn note_end(how: Ended) {
    if let Some(counters) = counters() {
        let counter = match how {
            Ended::OnePhase => &counters.one_phase,
            Ended::TwoPhase => &counters.two_phase,
            Ended::Aborted => &counters.aborted,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a participant that recovery has finished.
pub fn note_recovered() {
    if let Some(counters) = counters() {
        counters.recovered.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a transaction that failed here to end a deadlock between nodes.
/// Raises nothing.
pub fn note_deadlock() {
    if let Some(counters) = counters() {
        counters.deadlocks.fetch_add(1, Ordering::Relaxed);
    }
}

/// This node's counters, as a JSON object.
#[pg_extern(sql = false)]
fn local_transaction_counters() -> pgrx::JsonB {
    let read = |counter: fn(&Counters) -> &AtomicU64| {
        counters().map_or(0, |counters| counter(counters).load(Ordering::Relaxed))
    };
    pgrx::JsonB(serde_json::json!({
        "one_phase": read(|c| &c.one_phase),
        "two_phase": read(|c| &c.two_phase),
        "aborted": read(|c| &c.aborted),
        "recovered": read(|c| &c.recovered),
        "deadlocks": read(|c| &c.deadlocks),
    }))
}
