//! Whether a transaction has done anything that the log could not run again.
//!
//! What is known to be harmless is listed; anything else makes the entry an
//! intent, which costs an entry more and is always right.
#![allow(unsafe_code)]

use std::cell::Cell;

use pgrx::prelude::*;

use crate::catalog::ActingAs;
use crate::compat;
use crate::ddl::OwnWork;
use crate::row_log;

thread_local! {
    /// The last transaction that has done such work.
    static DONE_IN: Cell<pg_sys::LocalTransactionId> = const { Cell::new(0) };
}

/// Whether the running transaction has.
pub fn is_done() -> bool {
    // SAFETY: reads a variable of the backend.
    let isolation = unsafe { pg_sys::XactIsoLevel } as u32;
    // A serializable transaction may still fail when everything is decided.
    DONE_IN.get() == compat::local_transaction_id() || isolation == pg_sys::XACT_SERIALIZABLE
}

/// Looks at a statement that is about to be executed.
///
/// # Safety
/// `statement` is a valid QueryDesc.
pub unsafe fn note_query(statement: *mut pg_sys::QueryDesc) {
    // SAFETY: the caller's; a planned statement belongs to each.
    let changes_nothing = unsafe {
        let plan = (*statement).plannedstmt;
        (*plan).commandType == pg_sys::CmdType::CMD_SELECT && !(*plan).hasModifyingCTE
    };
    if !changes_nothing && !is_ours() {
        DONE_IN.set(compat::local_transaction_id());
        // SAFETY: the caller's.
        if !unsafe { row_log::writes_nothing_else(statement) } {
            row_log::note_other_work();
        }
    }
}

/// Looks at a utility statement that PostgreSQL runs as it is.
///
/// # Safety
/// `statement` is a valid utility statement.
pub unsafe fn note_utility(
    statement: *mut pg_sys::Node,
    context: pg_sys::ProcessUtilityContext::Type,
) {
    use pg_sys::NodeTag::*;
    let is_part = context == pg_sys::ProcessUtilityContext::PROCESS_UTILITY_SUBCOMMAND;
    if is_part || is_ours() {
        return;
    }
    // SAFETY: the caller's.
    let is_harmless = matches!(
        unsafe { (*statement).type_ },
        T_TransactionStmt
            | T_VariableSetStmt
            | T_VariableShowStmt
            | T_ExplainStmt
            | T_PrepareStmt
            | T_ExecuteStmt
            | T_DeallocateStmt
            | T_DeclareCursorStmt
            | T_FetchStmt
            | T_ClosePortalStmt
            | T_DiscardStmt
            | T_LoadStmt
            | T_LockStmt
            | T_ConstraintsSetStmt
            | T_CheckPointStmt
            // What they do passes here by itself.
            | T_DoStmt
            | T_CallStmt
    );
    // SAFETY: the caller's.
    if unsafe { row_log::is_bulk_write(statement) } {
        DONE_IN.set(compat::local_transaction_id());
    } else if !is_harmless {
        note();
    }
}

/// Whether what runs is the extension's own work.
pub fn is_ours() -> bool {
    // SAFETY: reads a variable of the backend.
    OwnWork::is_going_on() || ActingAs::is_anyone() || unsafe { pg_sys::creating_extension }
}

/// The running transaction does what the log could not run again.
pub fn note() {
    DONE_IN.set(compat::local_transaction_id());
    row_log::note_other_work();
}
