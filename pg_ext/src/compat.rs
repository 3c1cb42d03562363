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

/// Notes in a relation's range table entry (from 16 on, in its permission
/// info) that a list of columns is inserted into. A plain-old frame.
///
/// # Safety
/// `item` is valid; `columns` is a list of attribute numbers.
pub unsafe fn note_inserted_columns(
    item: *mut pg_sys::ParseNamespaceItem,
    columns: *mut pg_sys::List,
) {
    unsafe extern "C-unwind" {
        fn bms_add_member(set: *mut pg_sys::Bitmapset, member: i32) -> *mut pg_sys::Bitmapset;
    }
    // SAFETY: the caller's; an integer list's cells hold integers.
    unsafe {
        let entry = (*item).p_rte;
        let count = columns.as_ref().map_or(0, |list| list.length);
        for i in 0..count as usize {
            let number = (*(*columns).elements.add(i)).int_value;
            let member = number - pg_sys::FirstLowInvalidHeapAttributeNumber;
            (*entry).insertedCols = bms_add_member((*entry).insertedCols, member);
        }
    }
}

/// TRUNCATE of open relations that are locked, as the current user, who is not
/// asked for rights. From 16 on it takes whether to run as the owner (not). A
/// plain-old frame.
///
/// # Safety
/// Lists as PostgreSQL's own TRUNCATE makes them.
pub unsafe fn truncate(
    relations: *mut pg_sys::List,
    oids: *mut pg_sys::List,
    logged: *mut pg_sys::List,
    behavior: pg_sys::DropBehavior::Type,
    restarts_sequences: bool,
) {
    unsafe extern "C-unwind" {
        fn ExecuteTruncateGuts(
            relations: *mut pg_sys::List,
            oids: *mut pg_sys::List,
            logged: *mut pg_sys::List,
            behavior: pg_sys::DropBehavior::Type,
            restarts_sequences: bool,
        );
    }
    // SAFETY: the caller's.
    unsafe { ExecuteTruncateGuts(relations, oids, logged, behavior, restarts_sequences) }
}

/// Until this transaction ends, index builds do not wait for its snapshot. The
/// caller sees to it that no table is read with it afterwards that the build
/// could be about.
pub fn let_index_builds_pass() {
    /// Of ProcArrayLock, from PostgreSQL 9.6 on.
    const PROC_ARRAY_LOCK: usize = 4;
    // SAFETY: what a concurrent index build does for itself: both copies of the
    // process's flags, under the lock that guards them. The transaction's end
    // takes them back.
    unsafe {
        let lock = &raw mut (*pg_sys::MainLWLockArray.add(PROC_ARRAY_LOCK)).lock;
        pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        let me = pg_sys::MyProc;
        (*me).statusFlags |= pg_sys::PROC_IN_SAFE_IC as u8;
        *(*pg_sys::ProcGlobal).statusFlags.add((*me).pgxactoff as usize) = (*me).statusFlags;
        pg_sys::LWLockRelease(lock);
    }
}

/// The same for Rust frames, without sequences.
///
/// # Safety
/// As there.
pub unsafe fn truncate_guarded(
    relations: *mut pg_sys::List,
    oids: *mut pg_sys::List,
    logged: *mut pg_sys::List,
    behavior: pg_sys::DropBehavior::Type,
) {
    // SAFETY: the caller's.
    unsafe { pg_sys::ExecuteTruncateGuts(relations, oids, logged, behavior, false) }
}
