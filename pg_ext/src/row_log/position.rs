//! How far this node has applied a log, in its database.
#![allow(unsafe_code)]

use cluster::row_log::{RowLogId, RowLogPosition};
use pgrx::prelude::*;

use crate::catalog::{ActingAs, catalog, read_latest};
use crate::report::Report;

/// Notes that the running transaction brings an entry about: straight into the
/// heap and its index, since no user's right and no snapshot is involved.
pub fn note(log: RowLogId, position: RowLogPosition) -> Result<(), Report> {
    let table = catalog(c"row_log_applied")?;
    // SAFETY: the table exists with the extension and has exactly these columns;
    // the tuple lives in the current memory context.
    unsafe {
        let mut values =
            [pg_sys::Datum::from(log.0 as i32), pg_sys::Datum::from(position.0 as i64)];
        let mut nulls = [false, false];
        let relation = pg_sys::table_open(table, pg_sys::RowExclusiveLock as i32);
        let tuple =
            pg_sys::heap_form_tuple((*relation).rd_att, values.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::CatalogTupleInsert(relation, tuple);
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
    }
    Ok(())
}

/// The last entry that is in this database, as of now.
pub fn applied(log: RowLogId) -> Result<Option<RowLogPosition>, Report> {
    let rows = read_latest(
        catalog(c"row_log_applied")?,
        &format!(
            "SELECT position FROM shardman.row_log_applied
             WHERE log_id OPERATOR(pg_catalog.=) {log} ORDER BY position DESC LIMIT 1"
        ),
    )?;
    let value = rows.into_iter().flatten().flatten().next();
    Ok(value.and_then(|value| value.parse().ok()).map(RowLogPosition))
}

/// The last entry that a statement with the active snapshot sees.
pub fn seen(log: RowLogId) -> Result<RowLogPosition, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let seen = Spi::get_one_with_args::<i64>(
        "SELECT pg_catalog.max(position) FROM shardman.row_log_applied
         WHERE log_id OPERATOR(pg_catalog.=) $1",
        &[(log.0 as i32).into()],
    )?;
    Ok(RowLogPosition(seen.unwrap_or_default() as u64))
}

/// Clears away what is before the last.
pub fn clear(log: RowLogId, last: RowLogPosition) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    Ok(Spi::run_with_args(
        "DELETE FROM shardman.row_log_applied
         WHERE log_id OPERATOR(pg_catalog.=) $1 AND position OPERATOR(pg_catalog.<) $2",
        &[(log.0 as i32).into(), (last.0 as i64).into()],
    )?)
}
