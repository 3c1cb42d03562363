//! The participants in doubt on this node.
#![allow(unsafe_code)]

use std::sync::atomic::Ordering;
use std::time::Duration;

use cluster::txn::{IN_DOUBT_AFTER, next_look};
use pgrx::prelude::*;

use crate::catalog::read_latest;
use crate::gate;
use crate::report::Report;

/// A prepared transaction that may have been decided long ago.
pub struct InDoubt {
    /// Its name.
    pub gid: String,
    /// On this node.
    pub xid: pg_sys::TransactionId,
}

/// Whether there may be one in doubt, or may have been one when the client's
/// statement began. Two words of shared memory; a look finds nothing to be due
/// for a few seconds while there is none.
pub fn may_be_any() -> bool {
    is_look_due() || began_before_last_look()
}

/// Whether those in doubt have to be looked for.
pub fn is_look_due() -> bool {
    gate::looks().is_some_and(|looks| looks.next.load(Ordering::Acquire) <= gate::now())
}

/// Whether a snapshot of the client's statement may be older than the look that
/// found nothing more in doubt: what ended just before that look is not in it.
fn began_before_last_look() -> bool {
    // SAFETY: reads the backend's own variable.
    let began = unsafe { pg_sys::GetCurrentStatementStartTimestamp() };
    gate::looks().is_some_and(|looks| began <= looks.last.load(Ordering::Relaxed))
}

/// Those in doubt that hold a lock for writing on one of the relations or their
/// partitions.
/// `snapshot_is_fixed`: what was prepared after this transaction began is of no
/// concern to it.
pub fn in_doubt_on(
    relations: &[pg_sys::Oid],
    snapshot_is_fixed: bool,
) -> Result<Vec<InDoubt>, Report> {
    let Some(oldest) = oldest()? else { return Ok(Vec::new()) };
    let relations: Vec<_> = relations.iter().map(|rel| rel.to_u32().to_string()).collect();
    let before = match snapshot_is_fixed {
        true => "pg_catalog.transaction_timestamp()",
        false => "'infinity'",
    };
    debug_assert!(oldest >= IN_DOUBT_AFTER);
    let rows = read_latest(
        pg_sys::RelationRelationId,
        &format!(
            "SELECT DISTINCT p.gid, p.transaction
             FROM pg_catalog.pg_prepared_xacts AS p, pg_catalog.pg_locks AS own, pg_catalog.pg_locks AS l
             WHERE p.database OPERATOR(pg_catalog.=) pg_catalog.current_database()
               AND p.gid OPERATOR(pg_catalog.~) '^s[cd]_'
               AND p.prepared OPERATOR(pg_catalog.<) {before}::pg_catalog.timestamptz
               AND p.prepared OPERATOR(pg_catalog.<=) (pg_catalog.clock_timestamp()
                   OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => {}))
               AND own.pid IS NULL AND own.locktype OPERATOR(pg_catalog.=) 'transactionid'
               AND own.transactionid OPERATOR(pg_catalog.=) p.transaction
               AND l.pid IS NULL AND l.locktype OPERATOR(pg_catalog.=) 'relation'
               AND l.virtualtransaction OPERATOR(pg_catalog.=) own.virtualtransaction
               AND l.mode OPERATOR(pg_catalog.<>) 'AccessShareLock'
               AND l.relation OPERATOR(pg_catalog.=) ANY (
                   SELECT pg_catalog.unnest('{{{relations}}}'::pg_catalog.oid[])
                   UNION ALL
                   SELECT inhrelid FROM pg_catalog.pg_inherits
                   WHERE inhparent OPERATOR(pg_catalog.=) ANY ('{{{relations}}}'::pg_catalog.oid[]))",
            IN_DOUBT_AFTER.as_secs(),
            relations = relations.join(",")
        ),
    )?;
    let read = |row: Vec<Option<String>>| {
        let mut values = row.into_iter().flatten();
        let gid = values.next()?;
        let xid: u32 = values.next()?.parse().ok()?;
        Some(InDoubt { gid, xid: pg_sys::TransactionId::from(xid) })
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// The age of the oldest if it is in doubt; otherwise takes note of when the
/// next look is due.
fn oldest() -> Result<Option<Duration>, Report> {
    let began_at = gate::now();
    let rows = read_latest(
        pg_sys::RelationRelationId,
        "SELECT pg_catalog.max(pg_catalog.extract('epoch',
                    pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) prepared))
         FROM pg_catalog.pg_prepared_xacts
         WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database()
           AND gid OPERATOR(pg_catalog.~) '^s[cd]_'",
    )?;
    let seconds = rows.into_iter().flatten().flatten().next().and_then(|s| s.parse::<f64>().ok());
    let age = seconds.map(|s| Duration::try_from_secs_f64(s).unwrap_or_default());
    match next_look(age) {
        None => Ok(age),
        Some(pause) => {
            if let Some(looks) = gate::looks() {
                // SAFETY: reads the clock.
                let ended_at = unsafe { pg_sys::GetCurrentTimestamp() };
                looks.last.fetch_max(ended_at, Ordering::Relaxed);
                // Who sees this one sees the other.
                looks.next.store(began_at + pause.as_millis() as u64, Ordering::Release);
            }
            Ok(None)
        }
    }
}
