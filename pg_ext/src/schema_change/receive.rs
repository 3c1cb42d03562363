//! Taking part in another node's change of the schema.
#![allow(unsafe_code)]

use cluster::metadata::{DdlTail, TokenId};
use pgrx::prelude::*;

use super::applied;
use crate::catalog::forget_registry;
use crate::lists::text;
use crate::report::Report;

/// Brings this node to where the change begins, and marks its part in it.
pub fn begin(token: TokenId, after: DdlTail, now: i64) -> Result<(), Report> {
    applied::wait_for(after)?;
    applied::mark(token)?;
    forget_registry();
    pin_time(now);
    Ok(())
}

/// `now()` is this until the transaction ends, so that defaults that are
/// evaluated here are those of the node that took the statement.
pub fn pin_time(now: i64) {
    // SAFETY: sets two variables of the backend, which the next transaction
    // sets anew. A server built with assertions takes it from parallel workers
    // only.
    unsafe {
        let asserts = pg_sys::GetConfigOption(c"debug_assertions".as_ptr(), true, false);
        if text(asserts) != "on" {
            pg_sys::SetParallelStartTimestamps(now, now);
        }
    }
}
