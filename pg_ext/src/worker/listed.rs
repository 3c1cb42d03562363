//! Waiting until this node's catalogues show what the log has decided.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use cluster::NodeId;
use pgrx::prelude::*;

use crate::catalog::{forget_registry, registry};
use crate::report::Report;

const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks, in milliseconds. The applier is another process, and its
/// commit rings no bell that a backend could wait on.
const PAUSE_MS: i64 = 10;

/// Waits until `shardman.node` of this server has the node.
pub fn wait_until_listed(node: NodeId) -> Result<(), Report> {
    wait_until(|| Ok(registry()?.member(node).is_some()), "the new member to appear")
}

/// Waits until `shardman.node` of this server has the node as active.
pub fn wait_until_active(node: NodeId) -> Result<(), Report> {
    wait_until(
        || Ok(registry()?.member(node).is_some_and(|member| member.is_active)),
        "the new member to become active",
    )
}

/// Looks again and again, with a fresh snapshot, until `is_so`; answers to
/// cancel.
pub fn wait_until(
    mut is_so: impl FnMut() -> Result<bool, Report>,
    what: &str,
) -> Result<(), Report> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // SAFETY: takes in what other backends have committed.
        unsafe { pg_sys::AcceptInvalidationMessages() };
        forget_registry();
        if is_so()? {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_CANNOT_CONNECT_NOW,
                format!("timed out while waiting for {what}"),
            )
            .hint("Look at shardman.raft_status on every node and at the server logs."));
        }
        // SAFETY: this process's latch.
        unsafe {
            let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
            pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, PAUSE_MS, pg_sys::PG_WAIT_EXTENSION);
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
        pgrx::check_for_interrupts!();
    }
}
