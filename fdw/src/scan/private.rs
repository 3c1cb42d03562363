//! What a foreign scan's plan carries in `fdw_private`.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;

use crate::backend::{c_string_node, cells, int_list, ints, oids, string_node};

/// The parts, in the list's order.
pub struct ScanPrivate {
    /// Remote SQL.
    pub sql: Vec<u8>,
    /// Attribute number, in the scan's tuple, of each result column; -1 is ctid.
    pub columns: Vec<i32>,
    /// Rows fetched at once, at most; 0 for no bound.
    pub fetch_size: i32,
    /// System columns besides ctid and tableoid are wanted: rows must be stored
    /// as heap tuples.
    pub needs_heap_tuples: bool,
    /// The foreign tables that the rows come from, all in one place when the
    /// plan was made: whoever runs it looks again.
    pub relations: Vec<pg_sys::Oid>,
    /// Whose rights and user mapping are used; invalid for the current user.
    pub user: pg_sys::Oid,
}

impl ScanPrivate {
    /// As a list that PostgreSQL can copy.
    pub fn to_list(&self) -> *mut pg_sys::List {
        let numbers = [self.fetch_size, i32::from(self.needs_heap_tuples)];
        // SAFETY: guarded; allocates in the planner's context.
        let oids = std::iter::once(&self.user)
            .chain(&self.relations)
            .fold(null_mut(), |list, oid| unsafe { pg_sys::lappend_oid(list, *oid) });
        let parts: [*mut std::ffi::c_void; 4] = [
            string_node(&self.sql).cast(),
            int_list(&self.columns).cast(),
            int_list(&numbers).cast(),
            oids.cast(),
        ];
        // SAFETY: guarded; allocates in the planner's context.
        parts.iter().fold(null_mut(), |list, part| unsafe { pg_sys::lappend(list, *part) })
    }

    /// # Safety
    /// `list` was made by [`ScanPrivate::to_list`].
    pub unsafe fn from_list(list: *const pg_sys::List) -> ScanPrivate {
        // SAFETY: per the contract: a String, two integer lists, a list of OIDs.
        unsafe {
            let mut parts = cells::<pg_sys::Node>(list);
            let sql = parts.next().map(|n| c_string_node(n)).unwrap_or_default();
            let columns = parts.next().map(|n| ints(n.cast())).unwrap_or_default();
            let numbers = parts.next().map(|n| ints(n.cast())).unwrap_or_default();
            let mut oids = parts.next().map(|n| oids(n.cast())).unwrap_or_default().into_iter();
            ScanPrivate {
                sql,
                columns,
                fetch_size: numbers.first().copied().unwrap_or(0),
                needs_heap_tuples: numbers.get(1) == Some(&1),
                user: oids.next().unwrap_or(pg_sys::InvalidOid),
                relations: oids.collect(),
            }
        }
    }
}
