//! ExplainOneQuery_hook: why a point statement was not the router's.
//!
//! Plans have no place for it, so the statement is planned and shown as
//! PostgreSQL does it itself, with one property more at its end. `EXPLAIN EXECUTE`
//! does not come this way.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::{null, null_mut};

use pgrx::prelude::*;

static mut PREVIOUS: pg_sys::ExplainOneQuery_hook_type = None;

mod raw {
    use std::ffi::{c_char, c_int};

    use pgrx::pg_sys;
    unsafe extern "C-unwind" {
        /// Not the guarded bindings of pgrx: see the rule in `hooks`.
        pub fn pg_plan_query(
            query: *mut pg_sys::Query,
            query_string: *const c_char,
            cursor_options: c_int,
            parameters: pg_sys::ParamListInfo,
        ) -> *mut pg_sys::PlannedStmt;
        pub fn ExplainOnePlan(
            plan: *mut pg_sys::PlannedStmt,
            into: *mut pg_sys::IntoClause,
            es: *mut pg_sys::ExplainState,
            query_string: *const c_char,
            parameters: pg_sys::ParamListInfo,
            environment: *mut pg_sys::QueryEnvironment,
            duration: *const pg_sys::instr_time,
            buffers: *const pg_sys::BufferUsage,
        );
    }
}

thread_local! {
    /// The statement that is being explained; only compared.
    static EXPLAINED: Cell<*const pg_sys::Query> = const { Cell::new(null()) };
    /// Why the router did not take it.
    static REASON: RefCell<Option<String>> = const { RefCell::new(None) };
}

pub fn install() {
    // SAFETY: as for every hook, set before any backend exists.
    unsafe {
        PREVIOUS = pg_sys::ExplainOneQuery_hook;
        pg_sys::ExplainOneQuery_hook = Some(explain);
    }
}

/// The planner tells why the router did not take a statement.
pub(super) fn note_refusal(query: *const pg_sys::Query, reason: &str) {
    if EXPLAINED.get() == query {
        REASON.with(|noted| *noted.borrow_mut() = Some(reason.to_owned()));
    }
}

unsafe extern "C-unwind" fn explain(
    query: *mut pg_sys::Query,
    cursor_options: c_int,
    into: *mut pg_sys::IntoClause,
    es: *mut pg_sys::ExplainState,
    query_string: *const c_char,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
) {
    // SAFETY: plain-old frame; the arguments are PostgreSQL's own.
    unsafe {
        if let Some(previous) = PREVIOUS {
            previous(query, cursor_options, into, es, query_string, parameters, environment);
            return;
        }
        EXPLAINED.set(query);
        REASON.with(|reason| drop(reason.take()));
        let buffers_before = pg_sys::pgBufferUsage;
        let began = now();
        let plan = raw::pg_plan_query(query, query_string, cursor_options, parameters);
        let ended = now();
        EXPLAINED.set(null());
        let duration = between(&began, &ended);
        let mut buffers: pg_sys::BufferUsage = std::mem::zeroed();
        let mut shown = null();
        if (*es).buffers {
            pg_sys::BufferUsageAccumDiff(
                &raw mut buffers,
                &raw const pg_sys::pgBufferUsage,
                &raw const buffers_before,
            );
            shown = &raw const buffers;
        }
        raw::ExplainOnePlan(
            plan,
            into,
            es,
            query_string,
            parameters,
            environment,
            &raw const duration,
            shown,
        );
        fdw::callback(|| {
            if let Some(reason) = REASON.take() {
                add(es, c"Not Routed", &reason);
            }
            Ok(())
        });
    }
}

/// As PostgreSQL takes the time.
fn now() -> pg_sys::instr_time {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a struct of its own; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    pg_sys::instr_time { tv_sec: time.tv_sec, tv_nsec: time.tv_nsec }
}

fn between(from: &pg_sys::instr_time, to: &pg_sys::instr_time) -> pg_sys::instr_time {
    const SECOND: i64 = 1_000_000_000;
    let nanoseconds = (to.tv_sec - from.tv_sec) * SECOND + (to.tv_nsec - from.tv_nsec);
    pg_sys::instr_time { tv_sec: nanoseconds / SECOND, tv_nsec: nanoseconds % SECOND }
}

/// Adds a property to the statement that was shown last: its group is taken up again.
unsafe fn add(es: *mut pg_sys::ExplainState, label: &CStr, value: &str) {
    let value = CString::new(value).unwrap_or_default();
    // SAFETY: EXPLAIN's own state and text, with the group's end as its last line;
    // guarded.
    unsafe {
        let group = c"Query".as_ptr();
        let text = &mut *(*es).str_;
        let closing = match (*es).format {
            pg_sys::ExplainFormat::EXPLAIN_FORMAT_TEXT => None,
            pg_sys::ExplainFormat::EXPLAIN_FORMAT_XML => Some("</Query>\n"),
            pg_sys::ExplainFormat::EXPLAIN_FORMAT_JSON => Some("}"),
            _ => Some(""),
        };
        let Some(closing) = closing else {
            pg_sys::ExplainPropertyText(label.as_ptr(), value.as_ptr(), es);
            return;
        };
        let written = std::slice::from_raw_parts(text.data.cast::<u8>(), text.len as usize);
        let Some(rest) = written.strip_suffix(closing.as_bytes()) else { return };
        let is_json = closing == "}";
        let mut end = rest.len();
        if !closing.is_empty() {
            end -= rest.iter().rev().take_while(|byte| **byte == b' ').count();
            end -= usize::from(is_json && rest[..end].ends_with(b"\n"));
        }
        text.len = end as c_int;
        *text.data.add(end) = 0;
        (*es).indent += 1;
        if (*es).format != pg_sys::ExplainFormat::EXPLAIN_FORMAT_XML {
            let stack = (*es).grouping_stack;
            (*es).grouping_stack = pg_sys::lcons_int(1, stack);
        }
        pg_sys::ExplainPropertyText(label.as_ptr(), value.as_ptr(), es);
        pg_sys::ExplainCloseGroup(group, null_mut(), true, es);
    }
}
