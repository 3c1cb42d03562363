//! Before a statement reads.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use cluster::txn::IN_DOUBT_WAIT;
use pgrx::prelude::*;

use super::look::{InDoubt, in_doubt_on, is_look_due};
use crate::lists::{elements, text};
use crate::report::Report;
use crate::snapshot;

/// Waits, bounded, for participants in doubt that have locked relations of the
/// statement, and gives it a snapshot that sees them.
///
/// # Safety
/// `statement` is about to be started.
pub unsafe fn before_reading(statement: *mut pg_sys::QueryDesc) -> Result<(), Report> {
    // SAFETY: the caller's.
    let relations = unsafe { tables_of((*statement).plannedstmt) };
    if relations.is_empty() || !crate::in_cluster_database() {
        return Ok(());
    }
    let is_fixed = snapshot::isolation() >= pg_sys::XACT_REPEATABLE_READ;
    if is_fixed && snapshot::is_of_the_cluster() {
        // Taken while nothing was half carried out.
        return Ok(());
    }
    let found = match is_look_due() {
        true => in_doubt_on(&relations, is_fixed)?,
        false => Vec::new(),
    };
    let deadline = Instant::now() + IN_DOUBT_WAIT;
    for one in &found {
        wait_for(one, deadline)?;
    }
    // Also if none was found: it may have ended between the snapshot and the look.
    // SAFETY: the caller's.
    let sees_them = !is_fixed && unsafe { renew_snapshot(statement) };
    match found.first() {
        Some(first) if !sees_them => {
            Err(failed(first, "It was finished after the statement had begun."))
        }
        _ => Ok(()),
    }
}

/// What a statement may read here of users' rows: tables with rows, and, if it
/// finds its partition only when it runs, partitioned tables. Not the extension's
/// own: recovery reads them to end what is in doubt, which has locked them too.
unsafe fn tables_of(plan: *mut pg_sys::PlannedStmt) -> Vec<pg_sys::Oid> {
    // SAFETY: a valid plan; its range table holds RangeTblEntry nodes.
    unsafe {
        let top = (*plan).planTree;
        // A cursor that may go back keeps the rows.
        let keeps = !top.is_null() && (*top).type_ == pg_sys::NodeTag::T_Material;
        let top = if keeps { (*top).lefttree } else { top };
        let is_routed = !top.is_null() && (*top).type_ == pg_sys::NodeTag::T_CustomScan;
        elements::<pg_sys::RangeTblEntry>((*plan).rtable)
            .filter(|entry| {
                let kind = (**entry).relkind as u8;
                (**entry).rtekind == pg_sys::RTEKind::RTE_RELATION
                    && (kind == pg_sys::RELKIND_RELATION
                        || (is_routed && kind == pg_sys::RELKIND_PARTITIONED_TABLE))
                    && (**entry).relid.to_u32() >= pg_sys::FirstNormalObjectId
            })
            .map(|entry| (*entry).relid)
            .filter(|rel| {
                text(pg_sys::get_namespace_name(pg_sys::get_rel_namespace(*rel))) != "shardman"
            })
            .collect()
    }
}

/// Waits for its end as for any transaction's, so that the deadlock detector
/// sees the wait.
fn wait_for(one: &InDoubt, deadline: Instant) -> Result<(), Report> {
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let waited = {
        let _bound = LockTimeout::at_most(left);
        PgTryBuilder::new(|| {
            // SAFETY: guarded; an id of this node's.
            unsafe {
                pg_sys::XactLockTableWait(
                    one.xid,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    pg_sys::XLTW_Oper::XLTW_None,
                )
            };
            true
        })
        .catch_when(PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE, |_| false)
        .execute()
    };
    match waited {
        true => Ok(()),
        false => Err(failed(one, "The node that decides about it did not come back in time.")),
    }
}

/// While alive, waits for locks are bounded.
struct LockTimeout(i32);

impl LockTimeout {
    fn at_most(bound: Duration) -> LockTimeout {
        let bound = i32::try_from(bound.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the backend's own variable, read when a wait begins.
        unsafe {
            let before = pg_sys::LockTimeout;
            pg_sys::LockTimeout = if before == 0 { bound } else { before.min(bound) };
            LockTimeout(before)
        }
    }
}

impl Drop for LockTimeout {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { pg_sys::LockTimeout = self.0 };
    }
}

/// Gives a statement a snapshot taken now; false if its own is in use elsewhere,
/// too, as that of a stable function, which is its caller's.
///
/// # Safety
/// `statement` is about to be started.
pub unsafe fn renew_snapshot(statement: *mut pg_sys::QueryDesc) -> bool {
    // SAFETY: the snapshot on top of the stack was pushed for this statement, which
    // has registered it; both references are exchanged.
    unsafe {
        if pg_sys::IsInParallelMode() || !has_own_snapshot(statement) {
            return false;
        }
        pg_sys::PopActiveSnapshot();
        pg_sys::UnregisterSnapshot((*statement).snapshot);
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        (*statement).snapshot = pg_sys::RegisterSnapshot(pg_sys::GetActiveSnapshot());
        true
    }
}

/// Whether the snapshot on top of the stack was pushed for this statement alone:
/// by the portal that runs it, or by one who holds it nowhere else.
///
/// SAFETY: `statement` is valid.
unsafe fn has_own_snapshot(statement: *mut pg_sys::QueryDesc) -> bool {
    // SAFETY: the caller's; a portal's statements are valid while it is active.
    unsafe {
        let snapshot = (*statement).snapshot;
        if !pg_sys::ActiveSnapshotSet() || pg_sys::GetActiveSnapshot() != snapshot {
            return false;
        }
        let portal = pg_sys::ActivePortal.as_ref();
        let is_the_portals = portal.is_some_and(|portal| {
            elements::<pg_sys::PlannedStmt>(portal.stmts)
                .any(|plan| plan == (*statement).plannedstmt)
        });
        // A procedure's portal keeps a pointer to the one it evaluates expressions with.
        let is_kept = portal.is_some_and(|portal| portal.portalSnapshot == snapshot);
        is_the_portals || ((*snapshot).active_count == 1 && (*snapshot).regd_count == 1 && !is_kept)
    }
}

fn failed(one: &InDoubt, why: &str) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        "could not read rows that a transaction in doubt may have written",
    )
    .detail(format!("Transaction \"{}\" is prepared on this node. {why}", one.gid))
    .hint("Run the statement again. Look at shardman.in_doubt if this persists.")
}
