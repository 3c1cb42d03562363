//! A statement that the router takes.

use pgrx::pg_sys;
use pgrx::pg_sys::Node;

/// One column of the partition key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Index of the parameter that holds the value; `None` for NULL.
    pub parameter: Option<usize>,
    /// What hashes it.
    pub function: pg_sys::Oid,
    /// With which collation.
    pub collation: pg_sys::Oid,
}

/// What is known of it when it is planned.
pub struct Routed {
    /// The statement with `$n` in place of what is computed here; its range table
    /// is still the original's.
    pub query: *mut pg_sys::Query,
    /// What `$1`, `$2`, … stand for.
    pub values: Vec<*mut Node>,
    /// Sharded tables: range table index and OID.
    pub tables: Vec<(u32, pg_sys::Oid)>,
    /// The key of all of them.
    pub keys: Vec<Key>,
}
