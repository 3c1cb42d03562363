//! The worker's main loop.

use std::time::Duration;

use pgrx::prelude::*;

use super::pass::Queue;
use crate::gate;
use crate::worker::process;

/// When there is no log to wait for, or an entry has failed.
const PAUSE: Duration = Duration::from_millis(1000);

/// Registers the worker. Called while the library is preloaded.
pub fn register() {
    process::register("shardman schema worker", "shardman_schema_main");
}

#[allow(missing_docs, unsafe_code)]
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn shardman_schema_main(_argument: pg_sys::Datum) {
    process::begin();
    // A snapshot of the cluster is not about schema changes.
    gate::pass_freely();
    let mut queue = Queue::default();
    let mut told = None;
    while !process::is_told_to_end() {
        let trouble = match queue.pass() {
            Ok(true) => None,
            Ok(false) => {
                process::wait(PAUSE);
                None
            }
            Err(report) => {
                process::wait(PAUSE);
                Some(match report.detail {
                    Some(detail) => format!("{}: {detail}", report.message),
                    None => report.message,
                })
            }
        };
        // The same trouble is told once, not every second.
        if let Some(trouble) = &trouble
            && told.as_ref() != Some(trouble)
            && !process::is_told_to_end()
        {
            warning!("shardman: schema changes are not being applied: {trouble}");
        }
        if trouble.is_some() {
            told = trouble;
        }
    }
}
