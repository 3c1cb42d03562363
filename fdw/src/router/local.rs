//! A statement over local leaves, by PostgreSQL's own planner and executor.
//!
//! Plain-old frames throughout: the server's functions are called as they are, so
//! that an error in a row keeps its constraint and its context. Hooks on the
//! executor see the routed statement, once, and not this part of it.
#![allow(unsafe_code)]

use std::ffi::c_char;

use pgrx::pg_sys;
use pgrx::pg_sys::{CmdType, EState, ParamListInfo, PlannedStmt, Query, QueryDesc, TupleTableSlot};

use super::callbacks::NO_ROW;

mod raw {
    use std::ffi::c_char;

    use pgrx::pg_sys;
    unsafe extern "C-unwind" {
        pub fn standard_planner(
            query: *mut pg_sys::Query,
            query_string: *const c_char,
            cursor_options: i32,
            parameters: pg_sys::ParamListInfo,
        ) -> *mut pg_sys::PlannedStmt;
        pub fn CreateQueryDesc(
            plan: *mut pg_sys::PlannedStmt,
            source: *const c_char,
            snapshot: pg_sys::Snapshot,
            crosscheck: pg_sys::Snapshot,
            receiver: *mut pg_sys::DestReceiver,
            parameters: pg_sys::ParamListInfo,
            environment: *mut pg_sys::QueryEnvironment,
            instrument: i32,
        ) -> *mut pg_sys::QueryDesc;
        pub fn FreeQueryDesc(query: *mut pg_sys::QueryDesc);
        pub fn standard_ExecutorStart(query: *mut pg_sys::QueryDesc, flags: i32);
        pub fn standard_ExecutorFinish(query: *mut pg_sys::QueryDesc);
        pub fn standard_ExecutorEnd(query: *mut pg_sys::QueryDesc);
        pub fn MemoryContextReset(context: pg_sys::MemoryContext);
        pub fn ExecFilterJunk(
            filter: *mut pg_sys::JunkFilter,
            slot: *mut pg_sys::TupleTableSlot,
        ) -> *mut pg_sys::TupleTableSlot;
    }
}

/// # Safety
/// `query` is over local leaves that are locked; the caller is a plain-old frame.
pub unsafe fn plan(
    query: *mut Query,
    source: *const c_char,
    parameters: ParamListInfo,
) -> *mut PlannedStmt {
    // SAFETY: per the contract.
    unsafe { raw::standard_planner(query, source, 0, parameters) }
}

/// Starts it within the statement that `estate` runs: same snapshot, same flags.
///
/// # Safety
/// As [`plan`]; `estate`'s query context is current.
pub unsafe fn start(
    estate: *mut EState,
    planned: *mut PlannedStmt,
    parameters: ParamListInfo,
) -> *mut QueryDesc {
    // SAFETY: per the contract. The receiver is never called: rows are taken from
    // the plan itself.
    unsafe {
        let query = raw::CreateQueryDesc(
            planned,
            (*estate).es_sourceText,
            (*estate).es_snapshot,
            (*estate).es_crosscheck_snapshot,
            pg_sys::None_Receiver,
            parameters,
            (*estate).es_queryEnv,
            (*estate).es_instrument,
        );
        let explains = (*estate).es_top_eflags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as i32;
        raw::standard_ExecutorStart(query, explains);
        query
    }
}

/// The next row. At the end what is deferred to the end of a statement is done,
/// and changed rows are counted to the outer statement.
///
/// # Safety
/// `query` was started by [`start`] for `outer`.
pub unsafe fn next(outer: *mut EState, query: *mut QueryDesc) -> *mut TupleTableSlot {
    // SAFETY: per the contract.
    unsafe {
        let estate = (*query).estate;
        if (*estate).es_finished {
            return NO_ROW;
        }
        let former = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = (*estate).es_query_cxt;
        let each = (*estate).es_per_tuple_exprcontext;
        if !each.is_null() {
            raw::MemoryContextReset((*each).ecxt_per_tuple_memory);
        }
        let top = (*query).planstate;
        let mut slot = match (*top).ExecProcNode {
            Some(execute) => execute(top),
            None => NO_ROW,
        };
        if slot.is_null() || (*slot).tts_flags as u32 & pg_sys::TTS_FLAG_EMPTY != 0 {
            slot = NO_ROW;
            raw::standard_ExecutorFinish(query);
            if (*query).operation != CmdType::CMD_SELECT {
                (*outer).es_processed += (*estate).es_processed;
            }
        } else if !(*estate).es_junkFilter.is_null() {
            slot = raw::ExecFilterJunk((*estate).es_junkFilter, slot);
        }
        pg_sys::CurrentMemoryContext = former;
        slot
    }
}

/// # Safety
/// `query` was started by [`start`]; the caller is a plain-old frame.
pub unsafe fn end(query: *mut QueryDesc) {
    // SAFETY: per the contract.
    unsafe {
        let estate = (*query).estate;
        let explains = (*estate).es_top_eflags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as i32 != 0;
        if !(*estate).es_finished && !explains {
            raw::standard_ExecutorFinish(query);
        }
        raw::standard_ExecutorEnd(query);
        raw::FreeQueryDesc(query);
    }
}
