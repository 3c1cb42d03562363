//! Options as the catalogues hold them.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use super::validator::parse_bool;
use crate::backend::{cells, text_of};

/// Names and values, in catalogue order.
#[derive(Clone, Debug, Default, Hash)]
pub struct OptionList(Vec<(String, String)>);

impl OptionList {
    /// # Safety
    /// `list` is NIL or a list of DefElems with string arguments.
    pub unsafe fn read(list: *const pg_sys::List) -> OptionList {
        // SAFETY: per the contract.
        unsafe {
            OptionList(
                cells::<pg_sys::DefElem>(list)
                    .map(|d| (text_of((*d).defname), text_of(pg_sys::defGetString(d))))
                    .collect(),
            )
        }
    }

    /// The value of an option.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// As a Boolean.
    pub fn get_bool(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(parse_bool)
    }

    /// As a number; validated when it was set.
    pub fn get_number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name).and_then(|v| v.trim().parse().ok())
    }

    /// These options, and `fallback`'s where these are silent.
    pub fn or(mut self, fallback: OptionList) -> OptionList {
        for (name, value) in fallback.0 {
            if self.get(&name).is_none() {
                self.0.push((name, value));
            }
        }
        self
    }
}

/// A server's options.
pub fn server_options(server: pg_sys::Oid) -> OptionList {
    // SAFETY: guarded look-up; the result is copied at once.
    unsafe { OptionList::read((*pg_sys::GetForeignServer(server)).options) }
}

/// A foreign table's server and its own options.
pub fn table_options(relid: pg_sys::Oid) -> (pg_sys::Oid, OptionList) {
    // SAFETY: guarded look-up; the result is copied at once.
    unsafe {
        let table = pg_sys::GetForeignTable(relid);
        ((*table).serverid, OptionList::read((*table).options))
    }
}

/// The `column_name` of a foreign table's column, if it has that option.
pub fn column_name(relid: pg_sys::Oid, column: i16) -> Option<Vec<u8>> {
    // SAFETY: guarded look-up; the result is copied at once.
    unsafe {
        let list = pg_sys::GetForeignColumnOptions(relid, column);
        if list.is_null() {
            return None;
        }
        OptionList::read(list).get("column_name").map(|s| s.as_bytes().to_vec())
    }
}
