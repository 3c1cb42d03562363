//! ProcessUtility_hook: managed DDL, and what nodes tell each other.
#![allow(unsafe_code)]

use std::ffi::c_char;
use std::ptr;

use pgrx::PgMemoryContexts;
use pgrx::prelude::*;

use super::{copy, truncate};
use crate::ddl::{self, Finish, Received, Step};

/// The hook that was there before us.
static mut PREVIOUS: pg_sys::ProcessUtility_hook_type = None;

unsafe extern "C-unwind" {
    /// Not the guarded binding of pgrx: see the rule in `hooks`.
    #[link_name = "standard_ProcessUtility"]
    fn standard_process_utility_raw(
        pstmt: *mut pg_sys::PlannedStmt,
        query_string: *const c_char,
        read_only_tree: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        query_env: *mut pg_sys::QueryEnvironment,
        dest: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

/// What the guarded part decided, as plain data.
#[derive(Clone, Copy)]
#[repr(C)]
struct Decision {
    /// The statement to run; null if there is nothing left to run.
    statement: *mut pg_sys::PlannedStmt,
    /// Whether it is the caller's own tree.
    is_original: bool,
    /// How a statement of which nothing is left is announced.
    tag: pg_sys::CommandTag::Type,
    /// It is another node's, on leaves.
    received: Option<Received>,
    /// What to do afterwards; null for nothing. Freed with its memory context.
    finish: *mut Finish,
}

pub fn install() {
    // SAFETY: hooks are set while the postmaster loads libraries, before any
    // backend exists.
    unsafe {
        PREVIOUS = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(process_utility);
    }
}

#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn process_utility(
    pstmt: *mut pg_sys::PlannedStmt,
    query_string: *const c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    query_env: *mut pg_sys::QueryEnvironment,
    dest: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: the arguments are PostgreSQL's own; the frame holds plain data
    // only, so an error may jump over it.
    unsafe {
        let decision = before(pstmt, query_string, context);
        if let Some(received) = decision.received {
            let statement = (*pstmt).utilityStmt;
            match received {
                Received::Copy => copy::receive(statement.cast(), query_string, completion),
                Received::Truncate => truncate::receive(statement.cast(), completion),
            }
        } else if !decision.statement.is_null() {
            let read_only = read_only_tree && decision.is_original;
            let next = match PREVIOUS {
                Some(previous) => previous,
                None => standard_process_utility_raw,
            };
            next(
                decision.statement,
                query_string,
                read_only,
                context,
                params,
                query_env,
                dest,
                completion,
            );
        } else if !completion.is_null() {
            (*completion).commandTag = decision.tag;
            (*completion).nprocessed = 0;
        }
        if !decision.finish.is_null() {
            after(decision.finish);
        }
    }
}

/// A plain-old frame: what fails inside keeps all its fields.
unsafe fn before(
    pstmt: *mut pg_sys::PlannedStmt,
    query_string: *const c_char,
    context: pg_sys::ProcessUtilityContext::Type,
) -> Decision {
    let untouched = Decision {
        statement: pstmt,
        is_original: true,
        tag: pg_sys::CommandTag::CMDTAG_SET,
        received: None,
        finish: ptr::null_mut(),
    };
    let decide = || {
        // SAFETY: pstmt is a valid utility statement for the duration of the call.
        let step = unsafe { ddl::before_utility(pstmt, query_string, context) }?;
        Ok(match step {
            Step::Pass => untouched,
            Step::Receive(received) => Decision { received: Some(received), ..untouched },
            Step::Done => Decision { statement: ptr::null_mut(), ..untouched },
            Step::Only(finish) => {
                let finish = PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(finish);
                let tag = pg_sys::CommandTag::CMDTAG_VACUUM;
                Decision { statement: ptr::null_mut(), tag, finish, ..untouched }
            }
            Step::DoneAs(tag) => Decision { statement: ptr::null_mut(), tag, ..untouched },
            Step::Run { statement, finish } => {
                let is_original = statement.is_null();
                let statement = if is_original { pstmt } else { statement };
                let finish = finish.map_or(ptr::null_mut(), |finish| {
                    PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(finish)
                });
                Decision { statement, is_original, finish, ..untouched }
            }
        })
    };
    // SAFETY: this frame and its callers hold nothing that has a destructor.
    unsafe { fdw::callback(decide) }
}

/// A plain-old frame.
unsafe fn after(finish: *mut Finish) {
    // SAFETY: `before` leaked it into a context that outlives the statement.
    unsafe { fdw::callback(|| Ok((*finish).run()?)) }
}
