//! Which writer locks a statement takes, before it locks any row.
#![allow(unsafe_code)]

use std::cell::Cell;

use cluster::replication::WriterLock;
use pgrx::prelude::*;

use super::lock::take;
use super::{apply, pinned, standing};
use crate::catalog::registry;
use crate::compat;
use crate::ddl::OwnWork;
use crate::lists::elements;
use crate::membership;
use crate::node_session::is_node_session;
use crate::report::Report;

/// A statement that is about to run and has locked what it will write: its
/// table, and the transaction it belongs to.
#[derive(Clone, Copy)]
struct Ready {
    transaction: pg_sys::LocalTransactionId,
    rel: pg_sys::Oid,
}

thread_local! {
    static READY: Cell<Option<Ready>> = const { Cell::new(None) };
}

/// Whether a statement may write rows or lock them. Cheap: it is asked about
/// every statement.
///
/// # Safety
/// `statement` is about to be started.
pub unsafe fn concerns(statement: *mut pg_sys::QueryDesc) -> bool {
    // SAFETY: the caller's.
    unsafe {
        (*statement).operation != pg_sys::CmdType::CMD_SELECT
            || standing::am_i_down()
            || !(*(*statement).plannedstmt).rowMarks.is_null()
    }
}

/// Takes the locks of a statement that writes one row of a replicated table, or
/// locks rows of some. Others take theirs in the table's trigger.
///
/// # Safety
/// As for [`concerns`].
pub unsafe fn before_statement(statement: *mut pg_sys::QueryDesc) -> Result<(), Report> {
    READY.set(None);
    if !crate::in_cluster_database() || apply::is_applying() {
        return Ok(());
    }
    // SAFETY: the caller's; range table indexes begin at 1.
    unsafe {
        let planned = (*statement).plannedstmt;
        // Also for other nodes, which may join a copy with a partition here; not
        // for schema changes that it has missed.
        if standing::am_i_down() && !OwnWork::is_going_on() {
            let registry = registry()?;
            let mut read = elements::<pg_sys::RangeTblEntry>((*planned).rtable);
            if read.any(|entry| registry.triggered_of((*entry).relid).is_some()) {
                return Err(standing::behind(membership::my_identity()?.node_id));
            }
        }
        if is_node_session() {
            return Ok(());
        }
        let rel_of = |index: u32| {
            let entry: *mut pg_sys::RangeTblEntry =
                pg_sys::list_nth((*planned).rtable, index as i32 - 1).cast();
            (*entry).relid
        };
        let written = (*planned).resultRelations;
        if !written.is_null() && (*written).length == 1 {
            let rel = rel_of(pg_sys::list_nth_int(written, 0) as u32);
            if let Some(table) = registry()?.triggered_of(rel)
                && let Some(lock) = pinned::lock_of(statement, table.table_id, rel)
            {
                let relation = pg_sys::table_open(rel, pg_sys::NoLock as i32);
                let mut locks = referenced(relation)?;
                pg_sys::table_close(relation, pg_sys::NoLock as i32);
                locks.push(lock);
                take(&locks)?;
                READY.set(Some(Ready { transaction: compat::local_transaction_id(), rel }));
            }
        }
        if (*planned).rowMarks.is_null() || is_referential_check() {
            return Ok(());
        }
        let registry = registry()?;
        let marked = elements::<pg_sys::PlanRowMark>((*planned).rowMarks)
            .filter(|mark| (**mark).markType < pg_sys::RowMarkType::ROW_MARK_REFERENCE)
            .filter_map(|mark| registry.triggered_of(rel_of((*mark).rti)))
            .map(|table| WriterLock::Table(table.table_id));
        take(&marked.collect::<Vec<_>>())
    }
}

/// The locks on replicated tables that a table refers to. They are for all that
/// write it: each foreign key is checked on the writer's node alone, so rows that
/// are referred to must not go meanwhile on another. Before locks to write, in
/// the order of table ids.
///
/// # Safety
/// `relation` is open and locked.
unsafe fn referenced(relation: pg_sys::Relation) -> Result<Vec<WriterLock>, Report> {
    let registry = registry()?;
    // SAFETY: the caller's; a list of the relation cache, read at once.
    let mut locks: Vec<_> = unsafe {
        elements::<pg_sys::ForeignKeyCacheInfo>(pg_sys::RelationGetFKeyList(relation))
            .filter(|key| (**key).confrelid != (*relation).rd_id)
            .filter_map(|key| registry.triggered_of((*key).confrelid))
            .map(|table| WriterLock::Referrer(table.table_id))
            .collect()
    };
    locks.sort_by_key(|lock| lock.table());
    locks.dedup();
    Ok(locks)
}

/// In the trigger of a statement that is about to write `relation`.
///
/// # Safety
/// `relation` is open and locked.
pub unsafe fn before_writing(relation: pg_sys::Relation) -> Result<(), Report> {
    // SAFETY: the caller's.
    let rel = unsafe { (*relation).rd_id };
    let ready = READY.take();
    let transaction = compat::local_transaction_id();
    if ready.is_some_and(|ready| ready.rel == rel && ready.transaction == transaction) {
        return Ok(());
    }
    match registry()?.replicated_of(rel) {
        // Whoever commits first wins: nobody waits for anybody.
        Some(table) if table.log.is_some() => Ok(()),
        Some(table) => {
            // SAFETY: the caller's.
            let mut locks = unsafe { referenced(relation) }?;
            locks.push(WriterLock::Table(table.table_id));
            take(&locks)
        }
        None => Ok(()),
    }
}

/// TRUNCATE locks tables before their triggers fire: too late to queue up.
///
/// # Safety
/// `statement` is valid.
pub unsafe fn before_truncate(statement: *mut pg_sys::TruncateStmt) -> Result<(), Report> {
    if is_node_session() {
        return Ok(());
    }
    let registry = registry()?;
    // SAFETY: the caller's; a list of RangeVar.
    let named = unsafe {
        elements::<pg_sys::RangeVar>((*statement).relations)
            .filter_map(|range| crate::ddl::relation_of(range))
            .collect::<Vec<_>>()
    };
    let tables = named.into_iter().filter_map(|rel| registry.triggered_of(rel));
    take(&tables.map(|table| WriterLock::Table(table.table_id)).collect::<Vec<_>>())
}

/// Queries of foreign-key triggers lock the row that is referred to, on this
/// node alone: who deletes it must lock it here, too.
fn is_referential_check() -> bool {
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: reads two backend variables.
    unsafe { pg_sys::GetUserIdAndSecContext(&mut user, &mut context) };
    context & pg_sys::SECURITY_NOFORCE_RLS as i32 != 0
}
