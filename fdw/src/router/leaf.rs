//! A routed statement over the leaves of one partition.
#![allow(unsafe_code)]

use std::ffi::c_char;

use pgrx::pg_sys;
use pgrx::pg_sys::{CmdType, RTEKind};

use super::column_pins::Place;
use super::columns::{renumber, renumbering};
use super::levels::Levels;
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
        if matches!((*copy).commandType, CmdType::CMD_UPDATE | CmdType::CMD_DELETE) {
            // One that came through a view still stands in its FROM.
            let target: *mut pg_sys::RangeTblEntry =
                pg_sys::list_nth((*copy).rtable, (*copy).resultRelation - 1).cast();
            (*target).inFromCl = false;
        }
        // Statistics and EXPLAIN count the statement, not its parts.
        (*copy).queryId = 0;
        let maps: Vec<_> =
            parents.iter().zip(leaves).map(|(parent, leaf)| renumbering(*parent, *leaf)).collect();
        let mut renumbered = Vec::new();
        for (place, entry) in entries(copy) {
            if (*entry).rtekind != RTEKind::RTE_RELATION {
                continue;
            }
            // Also of views, which were checked here, too.
            (*entry).requiredPerms = 0;
            let Some(at) = parents.iter().position(|parent| *parent == (*entry).relid) else {
                continue;
            };
            (*entry).relid = leaves[at];
            if let Some(map) = maps[at] {
                renumbered.push((place, leaves[at], map));
            }
            // EXCLUDED of ON CONFLICT is no table.
            if (*entry).relkind == pg_sys::RELKIND_PARTITIONED_TABLE as c_char {
                (*entry).relkind = pg_sys::RELKIND_RELATION as c_char;
                (*entry).inh = false;
            }
        }
        for ((at, index), leaf, map) in renumbered {
            // Each time anew: inner queries are replaced with the outer ones.
            renumber(Levels::of(copy).level(at).query, index as i32, leaf, map);
        }
        copy
    }
}

/// The range table entries of all queries of a statement.
unsafe fn entries(query: *mut pg_sys::Query) -> Vec<(Place, *mut pg_sys::RangeTblEntry)> {
    // SAFETY: the callers' valid query.
    unsafe {
        Levels::of(query)
            .iter()
            .flat_map(|(at, level)| {
                (1..).zip(cells((*level.query).rtable)).map(move |(i, entry)| ((at, i), entry))
            })
            .collect()
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
        for (_, entry) in entries(copy) {
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
