//! What a user is told when MERGE meets partitions of other nodes.
//!
//! PostgreSQL merges into local tables only, and says so of a leaf. Its planner
//! leaves out partitions that the conditions exclude, so only it knows; its
//! report gets other words on the way out.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_void};

use pgrx::prelude::*;

use crate::catalog::registry;
use crate::report::Report;

/// 0A000 as PostgreSQL packs it.
const NOT_SUPPORTED: i32 = PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED as i32;

mod raw {
    use std::ffi::{c_char, c_int};

    unsafe extern "C-unwind" {
        pub fn geterrcode() -> c_int;
        pub fn errmsg(format: *const c_char, ...) -> c_int;
        pub fn errdetail(format: *const c_char, ...) -> c_int;
        pub fn errhint(format: *const c_char, ...) -> c_int;
    }
}

/// An entry of the stack of error contexts that rewords the refusal, to be put on
/// it while a MERGE is planned.
/// `reason` says why the router left it alone: a C string that outlives the planning,
/// or null.
pub fn context(reason: *const c_char) -> pg_sys::ErrorContextCallback {
    pg_sys::ErrorContextCallback {
        // SAFETY: reads backend state.
        previous: unsafe { pg_sys::error_context_stack },
        callback: Some(reword),
        arg: reason.cast_mut().cast(),
    }
}

/// Whether a query is a MERGE into a sharded table.
///
/// # Safety
/// `query` is valid.
pub unsafe fn is_into_sharded(query: *mut pg_sys::Query) -> Result<bool, Report> {
    // SAFETY: the caller's; resultRelation is an index into the range table.
    unsafe {
        if (*query).commandType != pg_sys::CmdType::CMD_MERGE {
            return Ok(false);
        }
        let entry: *mut pg_sys::RangeTblEntry =
            pg_sys::list_nth((*query).rtable, (*query).resultRelation - 1).cast();
        Ok(registry()?.table_of((*entry).relid).is_some())
    }
}

/// A plain-old frame, called while a report is made.
unsafe extern "C-unwind" fn reword(reason: *mut c_void) {
    // SAFETY: a report is being made; the texts have no format of their own.
    unsafe {
        if raw::geterrcode() == NOT_SUPPORTED {
            raw::errmsg(c"cannot execute MERGE on partitions of other nodes".as_ptr());
            if reason.is_null() {
                raw::errdetail(c"The statement may concern rows of the sharded table that are not on this node.".as_ptr());
            } else {
                raw::errdetail(
                    c"The statement cannot be run partition by partition: %s.".as_ptr(),
                    reason,
                );
            }
            raw::errhint(c"Merge from rows of a colocated or replicated table, a list of values or a built-in function, and equate each distribution column with a column of theirs; or use INSERT ... ON CONFLICT, UPDATE ... FROM and DELETE ... USING.".as_ptr());
        }
    }
}
