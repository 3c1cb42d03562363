//! The trigger functions of replicated tables.
#![allow(unsafe_code)]

use pgrx::prelude::*;

use super::{apply, ship, starting};
use crate::node_session::is_node_session;
use crate::report::Report;

macro_rules! trigger_function {
    ($info:ident, $name:ident, $body:path, $doc:literal) => {
        #[allow(missing_docs)]
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $info() -> &'static pg_sys::Pg_finfo_record {
            const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
            &V1
        }

        #[doc = $doc]
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
            // SAFETY: PostgreSQL calls it; no destructor is live here.
            unsafe {
                fdw::callback(|| {
                    let data = trigger_data(call)?;
                    if apply::is_applying() {
                        return Ok(());
                    }
                    not_on_a_participant()?;
                    Ok($body(data)?)
                });
            }
            pg_sys::Datum::from(0)
        }
    };
}

trigger_function!(
    pg_finfo_lock_replicated_table_wrapper,
    lock_replicated_table_wrapper,
    before,
    "BEFORE each statement that writes."
);
trigger_function!(
    pg_finfo_replicate_changes_wrapper,
    replicate_changes_wrapper,
    ship::after,
    "AFTER it."
);

unsafe fn trigger_data(call: pg_sys::FunctionCallInfo) -> Result<*mut pg_sys::TriggerData, Report> {
    // SAFETY: a valid call; the context of a trigger's is its TriggerData.
    unsafe {
        let context = (*call).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                "this function is for the triggers of replicated tables only",
            ));
        }
        Ok(context.cast())
    }
}

/// A statement that another node runs here cannot reach further nodes.
fn not_on_a_participant() -> Result<(), Report> {
    if !is_node_session() {
        return Ok(());
    }
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "cannot write a replicated table from a function that another node's statement runs here",
    )
    .detail("A trigger or function of a sharded table runs on the node of the row, and from there the write could not reach all nodes.")
    .hint("Write the replicated table in a statement of its own."))
}

unsafe fn before(data: *mut pg_sys::TriggerData) -> Result<(), Report> {
    // SAFETY: PostgreSQL's own, valid during the call.
    unsafe {
        let relation = (*data).tg_relation;
        ship::begin_statement((*relation).rd_id);
        starting::before_writing(relation)
    }
}
