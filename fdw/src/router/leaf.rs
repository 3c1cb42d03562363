//! A routed statement over the leaves of one partition.
#![allow(unsafe_code)]

use std::ffi::c_char;

use pgrx::pg_sys;
use pgrx::pg_sys::RTEKind;

use crate::backend::{bytes_of, cells};
use crate::deparse::at_owner;
use crate::types::TransmissionModes;

/// A copy of the statement with leaves in place of the tables, in the order of
/// `parents`, to be planned here. Rights were checked on the parents.
///
/// # Safety
/// `query` is a routed statement.
pub unsafe fn over_leaves(
    query: *const pg_sys::Query,
    parents: &[pg_sys::Oid],
    leaves: &[pg_sys::Oid],
) -> *mut pg_sys::Query {
    // SAFETY: a copy; its range table holds entries.
    unsafe {
        let copy: *mut pg_sys::Query = pg_sys::copyObjectImpl(query.cast()).cast();
        // Statistics and EXPLAIN count the statement, not its parts.
        (*copy).queryId = 0;
        for entry in cells::<pg_sys::RangeTblEntry>((*copy).rtable) {
            if (*entry).rtekind != RTEKind::RTE_RELATION {
                continue;
            }
            let Some(at) = parents.iter().position(|parent| *parent == (*entry).relid) else {
                continue;
            };
            (*entry).relid = leaves[at];
            (*entry).requiredPerms = 0;
            // EXCLUDED of ON CONFLICT is no table.
            if (*entry).relkind == pg_sys::RELKIND_PARTITIONED_TABLE as c_char {
                (*entry).relkind = pg_sys::RELKIND_RELATION as c_char;
                (*entry).inh = false;
            }
        }
        copy
    }
}

/// The statement as SQL for the leaves' owner.
///
/// # Safety
/// As [`over_leaves`].
pub unsafe fn remote_sql(
    query: *const pg_sys::Query,
    parents: &[pg_sys::Oid],
    leaves: &[pg_sys::Oid],
) -> Vec<u8> {
    // SAFETY: as above; guarded.
    unsafe {
        let copy = over_leaves(query, parents, leaves);
        for entry in cells::<pg_sys::RangeTblEntry>((*copy).rtable) {
            if (*entry).rtekind == RTEKind::RTE_RELATION {
                // Without it the name comes out with ONLY.
                (*entry).inh = true;
            }
        }
        let modes = TransmissionModes::enter(Some("pg_catalog"));
        let text = pg_sys::pg_get_querydef(copy, false);
        modes.leave();
        at_owner(&bytes_of(text))
    }
}
