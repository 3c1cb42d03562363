//! What an owner of rows checks for an INSERT with ON CONFLICT DO UPDATE that
//! another node sends in several commands.
#![allow(unsafe_code)]

use pgrx::AnyElement;
use pgrx::prelude::*;

use crate::report::Report;

/// The number of this command in its transaction.
#[pg_extern(sql = false)]
fn current_command() -> i32 {
    // SAFETY: reads backend state.
    unsafe { pg_sys::GetCurrentCommandId(false) as i32 }
}

/// True unless the row was written by this transaction at the command
/// `beginning` or later: then PostgreSQL's own error for the same within one
/// command. The row is the newest version and nobody has deleted it, so `cmin`
/// is not combined with a `cmax`, but where a savepoint brought it back.
#[pg_extern(sql = false)]
fn is_first_change(xmin: AnyElement, cmin: AnyElement, beginning: i32) -> bool {
    let xmin = pg_sys::TransactionId::from(xmin.datum().value() as u32);
    let cmin = cmin.datum().value() as u32;
    // SAFETY: reads backend state.
    let is_own = unsafe { pg_sys::TransactionIdIsCurrentTransactionId(xmin) };
    if is_own && cmin >= beginning as u32 {
        Report::new(
            PgSqlErrorCode::ERRCODE_CARDINALITY_VIOLATION,
            "ON CONFLICT DO UPDATE command cannot affect row a second time",
        )
        .hint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")
        .raise()
    }
    true
}
