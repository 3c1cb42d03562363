//! ExecutorStart_hook: a statement does not pass over what is in doubt, and
//! queues up at the home of a replicated table that it writes.
#![allow(unsafe_code)]

use std::ffi::c_int;

use pgrx::prelude::*;

use crate::moving::{check_snapshot, may_be_old};
use crate::{in_doubt, lasting_user, replicated, row_log, schema_change};

static mut PREVIOUS: pg_sys::ExecutorStart_hook_type = None;

mod raw {
    use std::ffi::c_int;

    use pgrx::pg_sys;
    unsafe extern "C-unwind" {
        /// Not the guarded binding of pgrx: see the rule in `hooks`.
        #[link_name = "standard_ExecutorStart"]
        pub fn standard_executor_start(statement: *mut pg_sys::QueryDesc, flags: c_int);
    }
}

pub fn install() {
    // SAFETY: as for every hook, set before any backend exists.
    unsafe {
        PREVIOUS = pg_sys::ExecutorStart_hook;
        pg_sys::ExecutorStart_hook = Some(start);
    }
}

unsafe extern "C-unwind" fn start(statement: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: plain-old frame; the arguments are PostgreSQL's own.
    unsafe {
        if lasting_user::is_to_be_resumed() {
            fdw::callback(|| Ok(lasting_user::resume()?));
        }
        if flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as c_int == 0
            && pg_sys::ParallelWorkerNumber < 0
            && in_doubt::may_be_any()
        {
            fdw::callback(|| Ok(in_doubt::before_reading(statement)?));
        }
        if flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as c_int == 0
            && pg_sys::ParallelWorkerNumber < 0
            && may_be_old(statement)
        {
            fdw::callback(|| Ok(check_snapshot(statement)?));
        }
        if flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as c_int == 0 && replicated::concerns(statement) {
            fdw::callback(|| Ok(replicated::before_statement(statement)?));
        }
        if !schema_change::is_serving() && flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as c_int == 0 {
            fdw::callback(|| Ok(schema_change::check_query(statement)?));
        }
        if flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as c_int == 0 && row_log::concerns(statement) {
            fdw::callback(|| Ok(row_log::before_statement(statement)?));
        }
        // Plain code that raises nothing.
        schema_change::note_query(statement);
        match PREVIOUS {
            Some(previous) => previous(statement, flags),
            None => raw::standard_executor_start(statement, flags),
        }
    }
}
