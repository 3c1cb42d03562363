//! What differs between PostgreSQL's major versions, one function each, with
//! the newest signature.
#![allow(unsafe_code)]

use pgrx::pg_sys;

/// A wait event set that lives as long as the session.
pub fn create_wait_event_set(events: i32) -> *mut pg_sys::WaitEventSet {
    // SAFETY: guarded; TopMemoryContext outlives every connection. 17 takes a
    // resource owner instead (NULL: session life).
    unsafe { pg_sys::CreateWaitEventSet(pg_sys::TopMemoryContext, events) }
}

/// The wait event that `pg_stat_activity` shows. 17 has named ones.
pub const WAIT_EVENT: u32 = pg_sys::PG_WAIT_EXTENSION;

mod imported {
    #[allow(unused_imports)]
    use pgrx::pg_sys::ffi;
    #[pgrx::pg_guard]
    unsafe extern "C-unwind" {
        pub fn get_rel_all_updated_cols(
            root: *mut pgrx::pg_sys::PlannerInfo,
            rel: *mut pgrx::pg_sys::RelOptInfo,
        ) -> *mut pgrx::pg_sys::Bitmapset;

        #[link_name = "RelationGetPartitionQual"]
        pub fn get_partition_qual(relation: pgrx::pg_sys::Relation) -> *mut pgrx::pg_sys::List;

        #[link_name = "RegisterTimeout"]
        pub fn register_timeout(id: u32, handler: unsafe extern "C-unwind" fn()) -> u32;
        #[link_name = "enable_timeout_after"]
        pub fn enable_timeout_after(id: u32, milliseconds: i32);

        pub fn pq_buffer_has_data() -> bool;
        pub fn pq_startmsgread();
        pub fn pq_peekbyte() -> ::core::ffi::c_int;
        pub fn pq_endmsgread();
    }
}

/// The first timeout that an extension may have; 15 and 16. 17 has one more of core's.
const USER_TIMEOUT: u32 = 12;

/// A timeout of our own. `handler` runs in a signal handler.
pub fn register_timeout(handler: unsafe extern "C-unwind" fn()) -> u32 {
    // SAFETY: guarded; the function lives as long as the process.
    unsafe { imported::register_timeout(USER_TIMEOUT, handler) }
}

/// Starts a timeout, or starts it anew.
pub fn enable_timeout_after(id: u32, milliseconds: i32) {
    // SAFETY: guarded; the timeout was registered.
    unsafe { imported::enable_timeout_after(id, milliseconds) }
}

/// The type of the client's next message, if it has already come. Between two
/// messages only: while a statement runs.
pub fn next_message() -> Option<u8> {
    // SAFETY: with data in the buffer the look at it neither waits nor reads.
    unsafe {
        if !imported::pq_buffer_has_data() {
            return None;
        }
        imported::pq_startmsgread();
        let byte = imported::pq_peekbyte();
        imported::pq_endmsgread();
        u8::try_from(byte).ok()
    }
}

/// The partition constraint, of its parents too, with Vars of number 1; NIL
/// for a table that is no partition.
///
/// # Safety
/// `relation` is open.
pub unsafe fn partition_constraint(relation: pg_sys::Relation) -> *mut pg_sys::List {
    // SAFETY: per the contract.
    unsafe { imported::get_partition_qual(relation) }
}

/// Columns that an UPDATE assigns, generated ones included, as attribute
/// numbers offset by `FirstLowInvalidHeapAttributeNumber`.
///
/// # Safety
/// `root` and `rel` are the planner's, `rel` an UPDATE target of `root`.
pub unsafe fn updated_columns(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
) -> *mut pg_sys::Bitmapset {
    // SAFETY: per the contract.
    unsafe { imported::get_rel_all_updated_cols(root, rel) }
}

/// The user whose rights a range table entry's access is checked with;
/// `InvalidOid` for the current one. 16 keeps it in RTEPermissionInfo.
///
/// # Safety
/// `rte` is a valid range table entry.
pub unsafe fn check_as_user(rte: *const pg_sys::RangeTblEntry) -> pg_sys::Oid {
    // SAFETY: per the contract.
    unsafe { (*rte).checkAsUser }
}
