//! Who keeps a move waiting: sessions and prepared transactions, by name, so that
//! somebody can do something about them.

use cluster::rebalance::Relocation;
use pgrx::prelude::*;

use super::leaves::leaves;
use crate::catalog::ActingAs;
use crate::report::Report;

/// Transactions that are younger will soon be over.
const OLD: &str = "1 s";

/// Who has locks on the tables of the move here, which the switch has to wait for.
pub fn holders_of_locks(relocation: &Relocation) -> Result<Vec<String>, Report> {
    let leaves = leaves(relocation)?;
    let rels: Vec<_> = leaves.iter().flat_map(|leaf| [leaf.parent, leaf.oid]).collect();
    let _acting = ActingAs::owner_of_the_catalogs();
    // A prepared transaction has no process; its own id is a lock of the same owner.
    list(
        "WITH holder AS (
             SELECT DISTINCT pid, virtualtransaction FROM pg_catalog.pg_locks
             WHERE locktype OPERATOR(pg_catalog.=) 'relation' AND granted
               AND relation OPERATOR(pg_catalog.=) ANY ($1)
               AND database OPERATOR(pg_catalog.=)
                   (SELECT oid FROM pg_catalog.pg_database
                    WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database())),
         old AS (
             SELECT s.pid, s.usename, s.application_name, s.xact_start
             FROM holder AS h JOIN pg_catalog.pg_stat_activity AS s ON s.pid OPERATOR(pg_catalog.=) h.pid
             WHERE s.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()),
         prepared AS (
             SELECT p.gid, p.owner, p.prepared
             FROM holder AS h
                  JOIN pg_catalog.pg_locks AS x ON x.pid IS NULL
                       AND x.virtualtransaction OPERATOR(pg_catalog.=) h.virtualtransaction
                       AND x.locktype OPERATOR(pg_catalog.=) 'transactionid'
                  JOIN pg_catalog.pg_prepared_xacts AS p
                       ON p.transaction OPERATOR(pg_catalog.=) x.transactionid
             WHERE h.pid IS NULL)",
        Some(rels),
    )
}

/// Transactions of this node that have written and are not over:
/// a slot that is made now waits for them.
pub fn old_transactions() -> Result<Vec<String>, Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    list(
        "WITH old AS (
             SELECT pid, usename, application_name, xact_start FROM pg_catalog.pg_stat_activity
             WHERE backend_xid IS NOT NULL AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()),
         prepared AS (
             SELECT gid, owner, prepared FROM pg_catalog.pg_prepared_xacts)",
        None,
    )
}

/// Prints those of `old` and `prepared` that are not over at once, the oldest first. No statements: whoever
/// may read the job's message might not read them.
fn list(with: &str, rels: Option<Vec<pg_sys::Oid>>) -> Result<Vec<String>, Report> {
    let found = Spi::get_one_with_args::<Vec<String>>(
        &format!(
            "{with}
             SELECT pg_catalog.array_agg(word ORDER BY since)
             FROM (SELECT pg_catalog.format('process %s of role \"%s\" (%s), in a transaction since %s', pid, usename,
                              application_name, pg_catalog.date_trunc('second', xact_start)) AS word, xact_start AS since
                   FROM old
                   UNION ALL
                   SELECT pg_catalog.format('prepared transaction \"%s\" of role \"%s\", since %s', gid, owner,
                              pg_catalog.date_trunc('second', prepared)), prepared
                   FROM prepared) AS found
             WHERE since OPERATOR(pg_catalog.<)
                   (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) '{OLD}'::pg_catalog.interval)"
        ),
        &[rels.unwrap_or_default().into()],
    )?;
    Ok(found.unwrap_or_default())
}
