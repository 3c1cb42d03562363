//! Decision rows: that a transaction is committed, written into it before it
//! is; and the promise that a part never will be.
#![allow(unsafe_code)]

use std::panic::AssertUnwindSafe;

use cluster::NodeId;
use cluster::txn::{Gid, Life, TransactionName};
use pgrx::prelude::*;

use crate::catalog::{ActingAs, catalog, read_latest};
use crate::report::Report;

/// A row of `shardman.commit_decision`.
pub struct Decision {
    /// Which transaction.
    pub transaction: TransactionName,
    /// Who prepared parts of it.
    pub participants: Vec<NodeId>,
    /// False for a promise.
    pub is_commit: bool,
}

/// Writes that the running transaction's commit is that of a distributed one.
/// The coordinator does so at PRE_COMMIT, before the first PREPARE is sent.
/// Straight into the heap and its index, for no snapshot and no user's right is
/// involved.
pub fn record_commit(transaction: TransactionName, participants: &[NodeId]) -> Result<(), Report> {
    let table = catalog(c"commit_decision")?;
    // SAFETY: the table exists with the extension and has exactly these six
    // columns; the tuple and the array live in the current memory context.
    unsafe {
        let mut nodes: Vec<_> =
            participants.iter().map(|node| pg_sys::Datum::from(node.0 as i32)).collect();
        let nodes = pg_sys::construct_array(
            nodes.as_mut_ptr(),
            nodes.len() as i32,
            pg_sys::INT4OID,
            4,
            true,
            b'i' as std::ffi::c_char,
        );
        let mut values = [
            pg_sys::Datum::from(transaction.coordinator.0 as i32),
            pg_sys::Datum::from(transaction.life.0 as i64),
            pg_sys::Datum::from(transaction.xid as i64),
            pg_sys::Datum::from(nodes),
            pg_sys::Datum::from(0usize),
            pg_sys::Datum::from(pg_sys::GetCurrentTimestamp()),
        ];
        let mut nulls = [false, false, false, false, true, false];
        let relation = pg_sys::table_open(table, pg_sys::RowExclusiveLock as i32);
        let tuple =
            pg_sys::heap_form_tuple((*relation).rd_att, values.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::CatalogTupleInsert(relation, tuple);
        pg_sys::table_close(relation, pg_sys::NoLock as i32);
    }
    Ok(())
}

/// The same for a part that is about to be prepared here under this gid. Refused
/// if this node has promised that it never will be.
pub fn record_part(gid: &str) -> Result<(), Report> {
    let Some(gid) = Gid::parse(gid).filter(is_decided_by_row) else {
        return Ok(());
    };
    // The error ends the transaction, so catching it needs no savepoint.
    PgTryBuilder::new(AssertUnwindSafe(|| record_commit(gid.transaction, &gid.participants)))
        .catch_when(PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION, |_| {
            Err(Report::new(
                PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
                "the transaction has been given up on this node",
            )
            .detail("Another participant could not reach the node that commits it, and asked.")
            .hint("Retry the transaction."))
        })
        .execute()
}

/// Of a change of the schema the metadata log decides.
fn is_decided_by_row(gid: &Gid) -> bool {
    gid.token.is_none() && !gid.participants.is_empty()
}

/// The rows that are committed now.
pub fn decisions() -> Result<Vec<Decision>, Report> {
    read_decisions("")
}

/// The row of one transaction, if there is one.
pub fn decision_of(transaction: TransactionName) -> Result<Option<Decision>, Report> {
    let TransactionName { coordinator, life, xid } = transaction;
    let found = read_decisions(&format!(
        "WHERE coordinator OPERATOR(pg_catalog.=) {coordinator}
           AND life OPERATOR(pg_catalog.=) {} AND xid OPERATOR(pg_catalog.=) {xid}",
        life.0
    ))?;
    Ok(found.into_iter().next())
}

fn read_decisions(condition: &str) -> Result<Vec<Decision>, Report> {
    let rows = read_latest(
        catalog(c"commit_decision")?,
        &format!(
            "SELECT coordinator, life, xid, pg_catalog.array_to_json(participants),
                    promised_by IS NULL
             FROM shardman.commit_decision {condition}"
        ),
    )?;
    let read = |row: Vec<Option<String>>| {
        let field = |at: usize| row.get(at)?.as_deref();
        let nodes: Vec<u32> = serde_json::from_str(field(3)?).ok()?;
        Some(Decision {
            transaction: TransactionName {
                coordinator: NodeId(field(0)?.parse().ok()?),
                life: Life(field(1)?.parse().ok()?),
                xid: field(2)?.parse().ok()?,
            },
            participants: nodes.into_iter().map(NodeId).collect(),
            is_commit: field(4)? == "t",
        })
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// Promises that no part of a transaction will be committed here, unless one is:
/// look at [`decision_of`] afterwards. Waits for a PREPARE that is under way.
pub fn promise_abort(gid: &Gid) -> Result<(), Report> {
    let TransactionName { coordinator, life, xid } = gid.transaction;
    let nodes: Vec<_> = gid.participants.iter().map(|node| node.0 as i32).collect();
    let _acting = ActingAs::owner_of_the_catalogs();
    Ok(Spi::run_with_args(
        "INSERT INTO shardman.commit_decision
         VALUES ($1, $2, $3, $4, pg_catalog.pg_current_xact_id(), pg_catalog.now())
         ON CONFLICT DO NOTHING",
        &[(coordinator.0 as i32).into(), (life.0 as i64).into(), (xid as i64).into(), nodes.into()],
    )?)
}

/// Deletes rows. A promise stays while a transaction runs that was there when it
/// was made: its PREPARE may still come.
pub fn forget(settled: &[TransactionName]) -> Result<(), Report> {
    if settled.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&TransactionName) -> i64| settled.iter().map(of).collect::<Vec<i64>>();
    let _acting = ActingAs::owner_of_the_catalogs();
    Ok(Spi::run_with_args(
        "DELETE FROM shardman.commit_decision AS d
         USING ROWS FROM (pg_catalog.unnest($1::bigint[]), pg_catalog.unnest($2::bigint[]),
                          pg_catalog.unnest($3::bigint[])) AS s(coordinator, life, xid)
         WHERE d.coordinator OPERATOR(pg_catalog.=) s.coordinator
           AND d.life OPERATOR(pg_catalog.=) s.life AND d.xid OPERATOR(pg_catalog.=) s.xid
           AND (d.promised_by IS NULL OR d.promised_by OPERATOR(pg_catalog.<)
                pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()))",
        &[
            column(|name| i64::from(name.coordinator.0)).into(),
            column(|name| name.life.0 as i64).into(),
            column(|name| name.xid as i64).into(),
        ],
    )?)
}
