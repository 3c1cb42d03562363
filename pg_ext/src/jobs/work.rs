//! A worker's transactions.
#![allow(unsafe_code)]

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use pgrx::PgTryBuilder;
use pgrx::prelude::*;

use super::trouble::caught;
use crate::report::Report;

/// Runs `work` in a transaction of its own with a snapshot. An error, returned
/// or raised, rolls it back and is returned.
pub fn in_transaction<R>(work: impl FnOnce() -> Result<R, Report>) -> Result<R, Report> {
    outside(|| {
        // SAFETY: guarded calls in a worker that is in no transaction; an error
        // in between ends in `outside`.
        unsafe {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        let value = work()?;
        // SAFETY: as above.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        Ok(value)
    })
}

/// Runs `work`, which begins and ends its transactions itself. An error rolls
/// back the one that is going on and is returned.
pub fn outside<R>(work: impl FnOnce() -> Result<R, Report>) -> Result<R, Report> {
    let done = PgTryBuilder::new(AssertUnwindSafe(work))
        .catch_others(|error| Err(caught(error)))
        .catch_rust_panic(|error| Err(caught(error)))
        .execute();
    if done.is_err() {
        // SAFETY: guarded; the error was taken off PostgreSQL's stack. Nothing
        // happens if there is no transaction.
        unsafe { pg_sys::AbortCurrentTransaction() };
    }
    done
}

/// Waits, answering to SIGTERM and the like.
pub fn pause(time: Duration) {
    // SAFETY: this process's latch.
    unsafe {
        let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        let millis = time.as_millis() as i64;
        pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, millis, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}
