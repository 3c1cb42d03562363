//! Where an isolation level cannot be kept: refused, with what to do instead.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::c_void;

use cluster::NodeId;
use pgrx::prelude::*;

use super::current::{Current, current, isolation, remember};
use super::local_use::has_used_this_node;
use crate::node_session::is_node_session;
use crate::report::Report;
use crate::settings;

thread_local! {
    static DDL: Cell<bool> = const { Cell::new(false) };
}

/// Registers the check at COMMIT. It must be registered after the callback of
/// `fdw`, so that it runs before anything is prepared.
pub fn init() {
    // SAFETY: a plain function that lives as long as the process.
    unsafe { pg_sys::RegisterXactCallback(Some(at_transaction), std::ptr::null_mut()) }
}

/// Runs the part of managed DDL that goes to other nodes: a statement outside of
/// a transaction block reads nothing there that a snapshot is needed for.
pub fn allowing_ddl<R>(work: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            DDL.set(self.0);
        }
    }
    let _restore = Restore(DDL.replace(true));
    work()
}

/// Refuses to begin a transaction on `node` if the local one's level could not
/// be kept. `others` counts the nodes that take part already.
pub fn check_access(node: NodeId, others: &dyn Fn() -> usize) -> Result<(), Report> {
    let level = isolation();
    if level < pg_sys::XACT_REPEATABLE_READ {
        return Ok(());
    }
    // SAFETY: reads the backend's transaction state.
    if DDL.get() && !unsafe { pg_sys::IsTransactionBlock() } {
        return Ok(());
    }
    let current = current();
    if current == Current::Imported {
        return Err(imported());
    }
    if level == pg_sys::XACT_REPEATABLE_READ {
        match current {
            Current::Cluster(nodes) if nodes.contains(&node) => return Ok(()),
            // In a session of another node the cluster is the other's affair.
            Current::Cluster(_) if !is_node_session() => return Err(is_new(node)),
            _ if !settings::global_snapshot() => return Ok(()),
            _ => {}
        }
    }
    if others() > 0 || has_used_this_node() {
        return Err(several_nodes(level));
    }
    remember(Current::OneNode);
    Ok(())
}

/// Refuses SET TRANSACTION SNAPSHOT in a transaction that has its snapshot
/// already, with a better reason than PostgreSQL's.
pub fn check_import() -> Result<(), Report> {
    if !matches!(current(), Current::Cluster(_)) {
        return Ok(());
    }
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "cannot import a snapshot into a transaction that has a snapshot of the cluster",
    )
    .detail("REPEATABLE READ took it when it came into force; an exported snapshot is of one node only.")
    .hint("SET shardman.global_snapshot = off before the transaction begins."))
}

/// A plain-old frame.
unsafe extern "C-unwind" fn at_transaction(event: pg_sys::XactEvent::Type, _argument: *mut c_void) {
    if event == pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT
        && isolation() >= pg_sys::XACT_REPEATABLE_READ
    {
        // SAFETY: PRE_COMMIT may raise, and this frame has nothing to drop.
        unsafe { fdw::callback(|| Ok(check_commit()?)) }
    }
}

/// A transaction that used another node alone may have come back to this one.
fn check_commit() -> Result<(), Report> {
    if current() == Current::OneNode && has_used_this_node() {
        return Err(several_nodes(isolation()));
    }
    Ok(())
}

fn several_nodes(level: u32) -> Report {
    let unsupported = PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED;
    if level == pg_sys::XACT_SERIALIZABLE {
        return Report::new(
            unsupported,
            "a SERIALIZABLE transaction cannot use more than one node",
        )
        .detail("Each node sees only its own part of the conflicts between transactions.")
        .hint("Use REPEATABLE READ, or run it on the node that holds all its rows.");
    }
    Report::new(
        unsupported,
        "cannot use more than one node under REPEATABLE READ without a snapshot of the cluster",
    )
    .detail("The snapshot is taken by BEGIN or SET TRANSACTION; a statement by itself has none.")
    .hint("Run it between BEGIN ISOLATION LEVEL REPEATABLE READ and COMMIT, or use READ COMMITTED.")
}

fn imported() -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "cannot use other nodes with an imported snapshot",
    )
    .detail("An exported snapshot is of one node only.")
    .hint("Use BEGIN ISOLATION LEVEL REPEATABLE READ, which takes a snapshot of the cluster.")
}

fn is_new(node: NodeId) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        format!("node {node} is not part of the transaction's snapshot"),
    )
    .detail("It became a member after the transaction had begun.")
    .hint("Run the transaction again.")
}
