//! Before a statement reads a table with a log: this node's copy is brought up
//! to what a majority knows.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::time::Duration;

use cluster::row_log::{RowLogId, RowLogPosition};
use pgrx::prelude::*;
use raft::{Request, Response};

use super::refusal::{no_majority, unexpected};
use super::{buffer, memory, position};
use crate::catalog::{ReplicatedTable, loaded_registry, registry};
use crate::compat;
use crate::ddl::relation_of;
use crate::in_doubt::renew_snapshot;
use crate::lists::elements;
use crate::replicated::is_applying;
use crate::report::Report;
use crate::schema_change::is_own_work;
use crate::settings::{self, ConsistencyModel};
use crate::snapshot;
use crate::worker;

/// How long a statement waits for this node to apply what it is to see.
const PATIENCE: Duration = Duration::from_secs(30);

/// Logs that the transaction has looked at, while its snapshot does not change.
#[derive(Default)]
struct Looked {
    transaction: pg_sys::LocalTransactionId,
    logs: Vec<RowLogId>,
}

thread_local! {
    static LOOKED: RefCell<Looked> = RefCell::default();
}

/// Whether a statement may read such a table. Cheap: it is asked about every
/// statement.
///
/// # Safety
/// `statement` is about to be started.
pub unsafe fn concerns(statement: *mut pg_sys::QueryDesc) -> bool {
    // Unknown is treated as yes: a backend's first statement only.
    loaded_registry().is_none_or(|registry| registry.has_row_logs())
        // SAFETY: the caller's; reads variables of the process.
        && unsafe {
            !(*(*statement).plannedstmt).rtable.is_null() && pg_sys::ParallelWorkerNumber < 0
        }
}

/// Brings the tables with logs that a statement reads up to date, and notes what
/// it depends on.
///
/// # Safety
/// As for [`concerns`].
pub unsafe fn before_statement(statement: *mut pg_sys::QueryDesc) -> Result<(), Report> {
    if !crate::in_cluster_database() || is_applying() || is_own_work() {
        return Ok(());
    }
    let registry = registry()?;
    if !registry.has_row_logs() {
        return Ok(());
    }
    // SAFETY: the caller's; a valid plan's range table holds RangeTblEntry nodes.
    unsafe {
        let planned = (*statement).plannedstmt;
        let mut tables: Vec<(ReplicatedTable, RowLogId)> =
            elements::<pg_sys::RangeTblEntry>((*planned).rtable)
                .filter(|entry| (**entry).rtekind == pg_sys::RTEKind::RTE_RELATION)
                .filter_map(|entry| registry.logged_of((*entry).relid))
                .collect();
        if tables.is_empty() {
            return Ok(());
        }
        let tails = roll_forward(&logs_of(&tables))?;
        let is_fixed = snapshot::isolation() >= pg_sys::XACT_REPEATABLE_READ;
        if is_fixed || !renew_snapshot(statement) {
            for (log, tail) in &tails {
                check_snapshot(*log, *tail)?;
            }
        }
        if is_fixed {
            LOOKED.with_borrow_mut(|looked| looked.logs.extend(tails.iter().map(|(log, _)| *log)));
        }
        if snapshot::isolation() != pg_sys::XACT_SERIALIZABLE {
            // What is locked must not change; what is only read may.
            let locked: Vec<pg_sys::Oid> = elements::<pg_sys::PlanRowMark>((*planned).rowMarks)
                .filter(|mark| (**mark).markType < pg_sys::RowMarkType::ROW_MARK_REFERENCE)
                .map(|mark| {
                    let at = (*mark).rti as i32 - 1;
                    let entry: *mut pg_sys::RangeTblEntry =
                        pg_sys::list_nth((*planned).rtable, at).cast();
                    (*entry).relid
                })
                .collect();
            tables.retain(|(table, _)| locked.contains(&table.rel));
        }
        for (table, log) in tables {
            let base = if is_fixed { position::seen(log)? } else { memory::position(log) };
            buffer::depend_on(table.table_id, log, table.shape, base);
        }
    }
    Ok(())
}

/// COPY … TO reads a table without the executor.
///
/// # Safety
/// `statement` is a valid CopyStmt.
pub unsafe fn before_copy(statement: *mut pg_sys::CopyStmt) -> Result<(), Report> {
    // SAFETY: the caller's.
    unsafe {
        if (*statement).is_from || (*statement).relation.is_null() {
            return Ok(());
        }
        let registry = registry()?;
        if !registry.has_row_logs() {
            return Ok(());
        }
        let Some(rel) = relation_of((*statement).relation) else { return Ok(()) };
        let Some((_, log)) = registry.logged_of(rel) else { return Ok(()) };
        for (log, tail) in roll_forward(&[log])? {
            let is_fixed = snapshot::isolation() >= pg_sys::XACT_REPEATABLE_READ;
            if !is_fixed && pg_sys::ActiveSnapshotSet() {
                pg_sys::PopActiveSnapshot();
                pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            }
            check_snapshot(log, tail)?;
        }
    }
    Ok(())
}

fn logs_of(tables: &[(ReplicatedTable, RowLogId)]) -> Vec<RowLogId> {
    let mut logs: Vec<_> = tables.iter().map(|(_, log)| *log).collect();
    logs.sort_unstable();
    logs.dedup();
    logs
}

/// Waits until this node has applied what a majority knows, and says what that
/// is. Nothing for logs that need not be looked at.
fn roll_forward(logs: &[RowLogId]) -> Result<Vec<(RowLogId, RowLogPosition)>, Report> {
    if settings::consistency_model() == ConsistencyModel::Optimistic {
        return Ok(Vec::new());
    }
    let transaction = compat::local_transaction_id();
    let due: Vec<_> = LOOKED.with_borrow_mut(|looked| {
        if looked.transaction != transaction {
            *looked = Looked { transaction, logs: Vec::new() };
        }
        logs.iter().copied().filter(|log| !looked.logs.contains(log)).collect()
    });
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let answer = worker::try_ask(&Request::RowLogTails)?;
    let all = match answer.map_err(|error| no_majority(error, "read a table with a log"))? {
        Response::RowLogTails(tails) => tails,
        other => return Err(unexpected(other)),
    };
    let tails: Vec<_> = all.into_iter().filter(|(log, _)| due.contains(log)).collect();
    for (log, tail) in &tails {
        if !memory::wait_for(*log, *tail, PATIENCE) {
            return Err(behind(*log, *tail));
        }
    }
    Ok(tails)
}

/// A snapshot that cannot be exchanged must see what was to be seen.
fn check_snapshot(log: RowLogId, tail: RowLogPosition) -> Result<(), Report> {
    if position::seen(log)? >= tail {
        return Ok(());
    }
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        "could not read a table with a log with the transaction's snapshot",
    )
    .detail("Other nodes have changed it since the snapshot was taken.")
    .hint("Retry the transaction, or SET shardman.consistency_model TO 'optimistic'."))
}

fn behind(log: RowLogId, tail: RowLogPosition) -> Report {
    let trouble = match worker::ask(&Request::RowLogs) {
        Ok(Response::RowLogs(view)) => {
            let me = crate::membership::my_identity().ok().map(|identity| identity.node_id);
            view.logs.into_iter().find(|it| it.id == log).and_then(|it| {
                it.troubles.into_iter().find(|(node, _)| Some(*node) == me).map(|(_, why)| why)
            })
        }
        _ => None,
    };
    let at = memory::position(log);
    let why = trouble.map(|why| format!(" It stands because of: {why}.")).unwrap_or_default();
    Report::new(
        PgSqlErrorCode::ERRCODE_CANNOT_CONNECT_NOW,
        "this node could not apply a log in time",
    )
    .detail(format!("It has applied entry {at} of {tail}.{why}"))
    .hint("Look at shardman.logs; use another node, or SET shardman.consistency_model TO 'optimistic' to read what this one has.")
}
