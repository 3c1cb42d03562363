//! How far this node has brought the log's schema changes into its database.
#![allow(unsafe_code)]

use cluster::metadata::{DdlPosition, DdlTail, TokenId};
use pgrx::prelude::*;

use crate::catalog::{ActingAs, catalog, read_latest};
use crate::report::Report;
use crate::worker;

/// The last entry that is applied here, as of now.
pub fn position() -> Result<DdlPosition, Report> {
    let rows = read_latest(
        catalog(c"log_position")?,
        "SELECT applied_index FROM shardman.log_position WHERE queue OPERATOR(pg_catalog.=) 'ddl'",
    )?;
    let value = rows.into_iter().flatten().flatten().next();
    Ok(DdlPosition(value.and_then(|value| value.parse().ok()).unwrap_or_default()))
}

/// Notes what has been applied in the running transaction.
pub fn note_position(position: DdlPosition) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    Ok(Spi::run_with_args(
        "UPDATE shardman.log_position SET applied_index = $1
         WHERE queue OPERATOR(pg_catalog.=) 'ddl'",
        &[(position.0 as i64).into()],
    )?)
}

/// Whether everything up to `tail` is done here. The marker of the last change
/// says so before the queue has come by: who took part in that one had applied
/// all before it.
pub fn has_applied(tail: DdlTail) -> Result<bool, Report> {
    if tail.position == DdlPosition(0) || has_marker(tail.token)? {
        return Ok(true);
    }
    Ok(position()? >= tail.position)
}

/// Waits for that; bounded, answering to cancel.
pub fn wait_for(tail: DdlTail) -> Result<(), Report> {
    worker::wait_until(
        || has_applied(tail),
        "this node to apply the schema changes that were decided before",
    )
}

/// Whether a transaction has done its part here and committed it.
pub fn has_marker(token: TokenId) -> Result<bool, Report> {
    let rows = read_latest(
        catalog(c"ddl_done")?,
        &format!("SELECT 1 FROM shardman.ddl_done WHERE token OPERATOR(pg_catalog.=) {token}"),
    )?;
    Ok(!rows.is_empty())
}

/// Inserts the marker: exactly one transaction on this node does what was
/// decided under the token. Waits for one that is at it, fails if it has.
/// Straight into the heap and its index, for no user's right is involved.
pub fn mark(token: TokenId) -> Result<(), Report> {
    let table = catalog(c"ddl_done")?;
    // SAFETY: the table exists with the extension and has exactly this column;
    // the tuple lives in the current memory context.
    unsafe {
        let mut values = [pg_sys::Datum::from(token.0 as i64)];
        let mut nulls = [false];
        let relation = pg_sys::table_open(table, pg_sys::RowExclusiveLock as i32);
        let tuple =
            pg_sys::heap_form_tuple((*relation).rd_att, values.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::CatalogTupleInsert(relation, tuple);
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
        pg_sys::CommandCounterIncrement();
    }
    Ok(())
}

/// For the queue: inserts the marker if nobody has, waiting for one that is at
/// it, notes the position, and takes the marker away, which with the position
/// is of no more use. Returns whether the entry is to be run.
pub fn claim(token: TokenId, position: DdlPosition) -> Result<bool, Report> {
    let is_ours = mark_if_nobody_has(token)?;
    unmark(token)?;
    note_position(position)?;
    Ok(is_ours)
}

/// Whether a transaction of this node has committed its part. Waits for one that
/// is at it.
pub fn was_committed(token: TokenId) -> Result<bool, Report> {
    let is_ours = mark_if_nobody_has(token)?;
    if is_ours {
        unmark(token)?;
    }
    Ok(!is_ours)
}

fn mark_if_nobody_has(token: TokenId) -> Result<bool, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let inserted = Spi::get_one_with_args::<bool>(
        "WITH inserted AS (
             INSERT INTO shardman.ddl_done VALUES ($1) ON CONFLICT DO NOTHING RETURNING 1)
         SELECT EXISTS (SELECT FROM inserted)",
        &[(token.0 as i64).into()],
    )?;
    Ok(inserted == Some(true))
}

fn unmark(token: TokenId) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    Ok(Spi::run_with_args(
        "DELETE FROM shardman.ddl_done WHERE token OPERATOR(pg_catalog.=) $1",
        &[(token.0 as i64).into()],
    )?)
}
