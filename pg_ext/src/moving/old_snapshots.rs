//! A snapshot that was taken before a partition moved.
//!
//! Of the partition it sees nothing: on the source the table is gone, on the
//! destination the rows were written after it was taken. Under READ COMMITTED, too,
//! a snapshot may be older than the locks that its statement has waited for
//! (EXECUTE, statements of stable functions). So a statement that uses a table of
//! the group with a snapshot that does not see the move gets a new one, if it may,
//! or is told to run the transaction again.
#![allow(unsafe_code)]

use cluster::TableId;
use cluster::sharding::LeafName;
use pgrx::prelude::*;

use crate::catalog::{Registry, last_move_if_known, registry};
use crate::ddl::is_leaf_schema;
use crate::in_doubt::renew_snapshot;
use crate::lists::{elements, text};
use crate::report::Report;
use crate::snapshot;

/// Whether a move may have come after the statement's snapshot: one comparison
/// where the registry has been read. Raises nothing.
///
/// # Safety
/// `statement` is about to be started.
pub unsafe fn may_be_old(statement: *mut pg_sys::QueryDesc) -> bool {
    let Some(last_move) = last_move_if_known() else { return true };
    let Some(last_move) = last_move else { return false };
    // SAFETY: the caller's; null or a valid snapshot.
    let Some(snapshot) = (unsafe { (*statement).snapshot.as_ref() }) else { return false };
    // As ids precede each other: one that is too long ago to tell is looked at.
    let distance = (last_move as u32).wrapping_sub(snapshot.xmin.into_inner());
    distance.cast_signed() >= 0
}

/// Refuses the statement if it uses a table whose partitions have moved since its
/// snapshot was taken.
///
/// # Safety
/// `statement` is about to be started.
pub unsafe fn check_snapshot(statement: *mut pg_sys::QueryDesc) -> Result<(), Report> {
    if !crate::in_cluster_database() {
        return Ok(());
    }
    // SAFETY: the caller's; a valid plan's range table holds RangeTblEntry nodes.
    unsafe {
        let snapshot = (*statement).snapshot;
        let plan = (*statement).plannedstmt;
        let entries = elements::<pg_sys::RangeTblEntry>((*plan).rtable);
        // Nothing else may be looked at here: the shard map is read by statements, too.
        let tables: Vec<_> = entries.filter(|entry| may_move(*entry)).collect();
        if snapshot.is_null() || tables.is_empty() {
            return Ok(());
        }
        let registry = registry()?;
        for entry in tables {
            let Some(group) = group_of(&registry, (*entry).relid) else { continue };
            let mut moves = registry.moved().iter().filter(|(moved, _)| *moved == group);
            if moves.any(|(_, by)| !sees(snapshot, *by)) {
                let is_fixed = snapshot::isolation() >= pg_sys::XACT_REPEATABLE_READ;
                if is_fixed || !renew_snapshot(statement) {
                    return Err(too_old((*entry).relid));
                }
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Whether it is a sharded table or a leaf.
///
/// SAFETY: `entry` is valid.
unsafe fn may_move(entry: *mut pg_sys::RangeTblEntry) -> bool {
    // SAFETY: the caller's.
    unsafe {
        (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION
            && ((*entry).relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE
                || is_leaf_schema((*entry).relid))
    }
}

/// The colocation group of a sharded table or of a leaf.
fn group_of(registry: &Registry, rel: pg_sys::Oid) -> Option<TableId> {
    if let Some(table) = registry.table_of(rel) {
        return Some(table.group_id);
    }
    // SAFETY: a syscache look-up; a palloc'd name or null.
    let name = unsafe { text(pg_sys::get_rel_name(rel)) };
    registry.table(LeafName::parse(&name)?.table).map(|table| table.group_id)
}

/// Whether a snapshot sees a transaction of this node that has committed.
///
/// SAFETY: `snapshot` is valid.
unsafe fn sees(snapshot: pg_sys::Snapshot, transaction: u64) -> bool {
    // SAFETY: the caller's; the next id is read under its lock.
    unsafe {
        let next = pg_sys::ReadNextFullTransactionId().value;
        // Ids that the snapshot could not tell from later ones are long over.
        if next.saturating_sub(transaction) > u64::from(u32::MAX / 4) {
            return true;
        }
        !pg_sys::XidInMVCCSnapshot(pg_sys::TransactionId::from(transaction as u32), snapshot)
    }
}

fn too_old(rel: pg_sys::Oid) -> Report {
    // SAFETY: a syscache look-up; a palloc'd name or null.
    let name = unsafe { text(pg_sys::get_rel_name(rel)) };
    Report::new(
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        format!("could not read \"{name}\" with a snapshot from before a move"),
    )
    .detail("A partition has moved to another node since the transaction's snapshot was taken.")
    .hint("Run the transaction again.")
}
