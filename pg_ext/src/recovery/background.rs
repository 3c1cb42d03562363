//! The recovery worker of a node: a pass every two seconds.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use cluster::txn::settled_up_to;
use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;

use super::nodes::Sessions;
use super::pass;
use crate::worker::process;
use crate::{catalog, gate};

const INTERVAL: Duration = Duration::from_secs(2);

/// Registers the worker. Called while the library is preloaded.
pub fn register() {
    process::register("shardman recovery worker", "shardman_recovery_main");
}

#[allow(missing_docs, unsafe_code)]
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn shardman_recovery_main(_argument: pg_sys::Datum) {
    process::begin();
    let mut sessions = Sessions::default();
    let mut told = Vec::new();
    let mut at_previous_pass = 0;
    // The closing of a gate may wait for what is finished here.
    gate::pass_freely();
    while process::wait(INTERVAL) {
        let at_this_pass = gate::last_incident();
        // SAFETY of unwinding: an error ends the process, which starts anew.
        let done = BackgroundWorker::transaction(AssertUnwindSafe(|| {
            if !catalog::is_installed() {
                return Ok(pass::Tally::default());
            }
            pass::run(&mut sessions)
        }));
        let troubles = match done {
            Ok(tally) => {
                if tally.finished > 0 {
                    log!("shardman: finished {} prepared transactions", tally.finished);
                }
                if let Some(incident) =
                    settled_up_to(tally.leftovers, at_previous_pass, at_this_pass)
                {
                    gate::settle(incident);
                }
                at_previous_pass = at_this_pass;
                tally.troubles
            }
            Err(report) => vec![format!("recovery did not look everywhere: {}", report.message)],
        };
        // The same trouble is told once, not every two seconds.
        if troubles != told {
            troubles.iter().for_each(|trouble| warning!("shardman: {trouble}"));
            told = troubles;
        }
    }
}
