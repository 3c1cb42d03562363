//! What a router's plan carries in `custom_private`.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use super::routed::Key;
use crate::backend::{cells, int_list, ints, oids};

/// The parts, in the list's order: Query, integers, OIDs.
pub struct RouterPrivate {
    /// The statement over the parents, with `$n`.
    pub query: *mut pg_sys::Query,
    /// Sharded tables of its range table, each once.
    pub parents: Vec<pg_sys::Oid>,
    /// Number of partitions.
    pub modulus: u32,
    /// It was planned for known values of parameters and will be run with those.
    pub is_for_values: bool,
    /// The partition key.
    pub keys: Vec<Key>,
}

impl RouterPrivate {
    /// For the plan.
    pub fn to_list(&self) -> *mut pg_sys::List {
        let mut numbers =
            vec![self.modulus as i32, i32::from(self.is_for_values), self.parents.len() as i32];
        numbers.extend(self.keys.iter().map(|key| key.parameter.map_or(-1, |p| p as i32)));
        let all = self
            .parents
            .iter()
            .copied()
            .chain(self.keys.iter().flat_map(|key| [key.function, key.collation]));
        // SAFETY: guarded calls that only allocate.
        unsafe {
            let all = all.fold(std::ptr::null_mut(), |list, oid| pg_sys::lappend_oid(list, oid));
            let list = pg_sys::lappend(std::ptr::null_mut(), self.query.cast());
            let list = pg_sys::lappend(list, int_list(&numbers).cast());
            pg_sys::lappend(list, all.cast())
        }
    }

    /// # Safety
    /// `list` was made by [`RouterPrivate::to_list`].
    pub unsafe fn from_list(list: *const pg_sys::List) -> RouterPrivate {
        // SAFETY: per the contract.
        unsafe {
            let mut parts = cells::<pg_sys::Node>(list);
            let query = parts.next().unwrap_or_default().cast();
            let numbers = parts.next().map(|n| ints(n.cast())).unwrap_or_default();
            let all = parts.next().map(|n| oids(n.cast())).unwrap_or_default();
            let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
            let (parents, functions) = all.split_at((number(2) as usize).min(all.len()));
            RouterPrivate {
                query,
                parents: parents.to_vec(),
                modulus: number(0) as u32,
                is_for_values: number(1) != 0,
                keys: functions
                    .chunks_exact(2)
                    .zip(numbers.iter().skip(3))
                    .map(|(pair, parameter)| Key {
                        parameter: usize::try_from(*parameter).ok(),
                        function: pair[0],
                        collation: pair[1],
                    })
                    .collect(),
            }
        }
    }
}
