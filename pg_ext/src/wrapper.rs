//! The wrapper's SQL-callable functions.
#![allow(unsafe_code)]

use pgrx::prelude::*;
use pgrx::{PgBox, AllocatedByRust};

#[pg_extern(sql = false)]
fn fdw_handler() -> PgBox<pg_sys::FdwRoutine, AllocatedByRust> {
    // SAFETY: the routine is palloc'd in the current memory context.
    unsafe { PgBox::from_rust(fdw::handler()) }
}
