//! Whether the running transaction has used a user's table on this node.
#![allow(unsafe_code)]

use std::ffi::c_char;

use pgrx::prelude::*;

use crate::lists::text;

const INSTALLED_WITH_POSTGRES: u32 = pg_sys::FirstNormalObjectId;

/// Told by its locks, which last to its end: on tables with rows here that other
/// sessions may see, and that are not the extension's own. Looks through the
/// locks of all sessions, so it is for levels that few use over several nodes.
pub fn has_used_this_node() -> bool {
    // SAFETY: guarded; returns a palloc'd copy of the lock table. The look-ups
    // take a relation that this transaction has locked.
    unsafe {
        let data = pg_sys::GetLockStatusData();
        let locks = std::slice::from_raw_parts((*data).locks, (*data).nelements as usize);
        locks.iter().any(|lock| {
            let tag = &lock.locktag;
            lock.pid == pg_sys::MyProcPid
                && lock.holdMask != 0
                && u32::from(tag.locktag_type) == pg_sys::LockTagType::LOCKTAG_RELATION
                && tag.locktag_field1 == pg_sys::MyDatabaseId.to_u32()
                && is_a_users_table(pg_sys::Oid::from(tag.locktag_field2))
        })
    }
}

/// SAFETY: in a transaction.
unsafe fn is_a_users_table(rel: pg_sys::Oid) -> bool {
    if rel.to_u32() < INSTALLED_WITH_POSTGRES {
        return false;
    }
    // SAFETY: the caller's; syscache look-ups.
    unsafe {
        let kind = pg_sys::get_rel_relkind(rel);
        let has_rows = [pg_sys::RELKIND_RELATION, pg_sys::RELKIND_MATVIEW]
            .iter()
            .any(|k| kind == *k as c_char);
        has_rows
            && pg_sys::get_rel_persistence(rel) != pg_sys::RELPERSISTENCE_TEMP as c_char
            && text(pg_sys::get_namespace_name(pg_sys::get_rel_namespace(rel))) != "shardman"
    }
}
