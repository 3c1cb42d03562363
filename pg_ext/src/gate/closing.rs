//! Closing the gate, and opening it again with the transaction at the latest.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::time::{Duration, Instant};

use cluster::txn::Closing;
use pgrx::prelude::*;

use super::memory::gate;
use super::state::Hold;
use crate::report::Report;

thread_local! {
    static HOLD: Cell<Option<Hold>> = const { Cell::new(None) };
}

/// How often a wait looks for leases that have run out.
const PERIOD: Duration = Duration::from_millis(20);

/// Closes this node's gate and waits until nobody is inside and no decision of
/// this node is half carried out. If that takes too long it is open again and
/// the report is a `lock_not_available`.
pub fn close(closing: Closing) -> Result<(), Report> {
    let Some(gate) = gate() else { return Ok(()) };
    open();
    let deadline = Instant::now() + closing.drain;
    if closing.is_turnstile && !gate.wait_until(deadline, PERIOD, || gate.turnstile().lets_in()) {
        return Err(busy("Snapshots and commits before it take too long."));
    }
    let Some(hold) = gate.close(closing.lease) else {
        return Err(busy("Too many snapshots are being taken."));
    };
    // From here on an error or the end of the session opens it (ABORT callback).
    HOLD.set(Some(hold));
    if gate.wait_until(deadline, PERIOD, || gate.inside() == 0 && gate.is_settled()) {
        return Ok(());
    }
    let detail = match gate.inside() {
        0 => "A committed transaction of this node is still prepared on another node.".to_owned(),
        n => format!("{n} commits of this node are not finished."),
    };
    open();
    Err(busy(&detail))
}

/// Opens it, if this session closed it. Raises nothing.
pub fn open() {
    if let Some(hold) = HOLD.take()
        && let Some(gate) = gate()
    {
        gate.open(hold);
    }
}

fn busy(detail: &str) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
        "could not close the commit gate of this node in time",
    )
    .detail(detail)
}
