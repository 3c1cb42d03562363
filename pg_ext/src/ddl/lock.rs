//! The DDL lock: one managed DDL transaction at a time in the cluster.
//!
//! It is the EXCLUSIVE lock on `shardman.ddl_state`, taken first on the node
//! with the lowest id and then on each node that takes part, so that a
//! transaction still prepared somewhere holds the next one up there.
#![allow(unsafe_code)]

use cluster::sharding::NodeCommand;
use pgrx::prelude::*;

use crate::catalog::{catalog, forget_registry};
use crate::peers;
use crate::report::Report;

/// Takes the DDL lock of the cluster until the transaction ends.
pub fn lock_ddl() -> Result<(), Report> {
    if let Some(first) = peers::lowest_active()? {
        peers::tell(&[first], &NodeCommand::LockDdl)?;
    }
    lock_ddl_here()
}

/// Takes this node's part of it.
pub fn lock_ddl_here() -> Result<(), Report> {
    let state = catalog(c"ddl_state")?;
    // SAFETY: the catalogue exists; the call waits, answering to cancel.
    unsafe { pg_sys::LockRelationOid(state, pg_sys::ExclusiveLock as i32) };
    forget_registry();
    Ok(())
}
