//! What PlanForeignModify leaves for execution.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;

use crate::backend::{cells, int_list, ints};

/// The parts, in the list's order.
pub struct ModifyPrivate {
    /// Columns that are assigned.
    pub targets: Vec<i32>,
    /// Columns to bring back; -1 is ctid.
    pub returning: Vec<i32>,
    /// ON CONFLICT DO NOTHING.
    pub does_nothing_on_conflict: bool,
}

impl ModifyPrivate {
    /// As a list that PostgreSQL can copy.
    pub fn to_list(&self) -> *mut pg_sys::List {
        let flags = [i32::from(self.does_nothing_on_conflict)];
        let parts = [int_list(&self.targets), int_list(&self.returning), int_list(&flags)];
        // SAFETY: guarded; allocates in the planner's context.
        parts.iter().fold(null_mut(), |list, part| unsafe { pg_sys::lappend(list, (*part).cast()) })
    }

    /// # Safety
    /// `list` was made by [`ModifyPrivate::to_list`].
    pub unsafe fn from_list(list: *const pg_sys::List) -> ModifyPrivate {
        // SAFETY: per the contract: three integer lists.
        unsafe {
            let mut parts = cells::<pg_sys::List>(list).map(|l| ints(l));
            let targets = parts.next().unwrap_or_default();
            let returning = parts.next().unwrap_or_default();
            let flags = parts.next().unwrap_or_default();
            ModifyPrivate { targets, returning, does_nothing_on_conflict: flags == [1] }
        }
    }
}
