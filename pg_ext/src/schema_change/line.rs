//! Standing in line for the token.
//!
//! The line is the EXCLUSIVE lock on `shardman.ddl_state` of the node with the
//! lowest id that can be reached: an ordinary lock, so that waits in it answer
//! to cancel and are seen by the deadlock detector, and so that the log is asked
//! when the answer is likely to be yes. It decides nothing: a node that hangs
//! may keep its place, and after a while the others ask the log all the same.
#![allow(unsafe_code)]

use std::panic::AssertUnwindSafe;

use cluster::sharding::NodeCommand;
use pgrx::PgTryBuilder;
use pgrx::prelude::*;

use super::{applied, token, transaction};
use crate::catalog::{catalog, forget_registry, registry};
use crate::membership;
use crate::peers;
use crate::report::Report;

/// After so many milliseconds the log is asked without the lock.
const PATIENCE_MS: i32 = 3000;

/// Takes the right to change the schema until the transaction ends, and brings
/// this node to where the last change has left it. Waits, answering to cancel.
pub fn lock_ddl() -> Result<(), Report> {
    if transaction::is_going_on() {
        return Ok(());
    }
    loop {
        stand_in_line()?;
        if let Some((token, after)) = token::take()? {
            transaction::begin(token, after);
            applied::wait_for(after)?;
            forget_registry();
            return Ok(());
        }
    }
}

fn stand_in_line() -> Result<(), Report> {
    let me = membership::my_identity()?.node_id;
    let registry = registry()?;
    for member in registry.members().iter().filter(|member| member.is_active) {
        if member.id == me {
            return stand_in_line_here();
        }
        // The next one keeps the line if this one is not there.
        if fdw::session::unreachable(&[member.id])?.is_empty() {
            return peers::tell(&[member.id], &NodeCommand::LockDdl);
        }
    }
    Ok(())
}

/// This node's part of it: waits for the lock for a while.
pub fn stand_in_line_here() -> Result<(), Report> {
    let state = catalog(c"ddl_state")?;
    // SAFETY: guarded calls. The internal subtransaction takes back what the
    // wait that is given up has left; context and owner are then what they were.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        let users_limit = pg_sys::LockTimeout;
        let is_users = users_limit > 0 && users_limit <= PATIENCE_MS;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        if !is_users {
            pg_sys::LockTimeout = PATIENCE_MS;
        }
        let lock = AssertUnwindSafe(|| {
            pg_sys::LockRelationOid(state, pg_sys::ExclusiveLock as i32);
            pg_sys::ReleaseCurrentSubTransaction();
            Ok(true)
        });
        let outcome: Result<bool, Report> = PgTryBuilder::new(lock)
            .catch_when(PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE, |error| {
                if is_users { error.rethrow() } else { Ok(false) }
            })
            .finally(|| pg_sys::LockTimeout = users_limit)
            .execute();
        let got = outcome?;
        pg_sys::MemoryContextSwitchTo(context);
        if !got {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
            pg_sys::MemoryContextSwitchTo(context);
        }
        pg_sys::CurrentResourceOwner = owner;
    }
    forget_registry();
    Ok(())
}
