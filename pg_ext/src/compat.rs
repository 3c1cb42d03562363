//! What differs between PostgreSQL's major versions, one function each, with
//! the newest version's shape.
#![allow(unsafe_code)]

use std::ffi::CString;

use pgrx::prelude::*;

use crate::lists::list_of;

/// `PARTITION BY HASH (columns)` as a parse node in the current memory context.
/// In PostgreSQL 15 the strategy is a string, from 16 on an enum.
pub fn hash_partition_spec(columns: &[CString]) -> *mut pg_sys::PartitionSpec {
    // SAFETY: nodes are zeroed and tagged in the current memory context;
    // strings are copied into it.
    unsafe {
        let elements = columns.iter().map(|column| {
            let mut element =
                PgBox::<pg_sys::PartitionElem>::alloc_node(pg_sys::NodeTag::T_PartitionElem);
            element.name = pg_sys::pstrdup(column.as_ptr());
            element.location = -1;
            element.into_pg()
        });
        let elements = list_of(elements);
        let mut spec = PgBox::<pg_sys::PartitionSpec>::alloc_node(pg_sys::NodeTag::T_PartitionSpec);
        spec.strategy = pg_sys::pstrdup(c"hash".as_ptr());
        spec.partParams = elements;
        spec.location = -1;
        spec.into_pg()
    }
}

/// Whether a partition spec is by hash.
///
/// # Safety
/// `spec` is a valid PartitionSpec.
pub unsafe fn is_hash(spec: *mut pg_sys::PartitionSpec) -> bool {
    // SAFETY: the caller's.
    unsafe { crate::lists::text((*spec).strategy).eq_ignore_ascii_case("hash") }
}

/// The place of a process in shared arrays.
///
/// # Safety
/// `process` is a valid PGPROC.
pub unsafe fn process_number(process: *const pg_sys::PGPROC) -> usize {
    // SAFETY: the caller's. From 17 on the number follows from the address.
    unsafe { (*process).pgprocno as usize }
}

/// The local transaction id of a process; 0 outside of a transaction.
///
/// # Safety
/// `process` is a valid PGPROC.
pub unsafe fn transaction_of(process: *const pg_sys::PGPROC) -> pg_sys::LocalTransactionId {
    // SAFETY: the caller's; four aligned bytes, which others may be writing.
    unsafe { std::ptr::read_volatile(&raw const (*process).lxid) }
}

/// The number of this backend's running transaction, new for each: it tells
/// what was left behind by an earlier one.
pub fn local_transaction_id() -> pg_sys::LocalTransactionId {
    // SAFETY: a backend that runs statements has a PGPROC.
    unsafe { (*pg_sys::MyProc).lxid }
}
