//! Running what cannot run in a transaction, as a client's own command would.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr::null_mut;

use pgrx::prelude::*;

use super::work::outside;
use crate::ddl::OwnWork;
use crate::report::Report;

/// Runs one utility statement at top level, as this worker's user. In no
/// transaction before and after.
pub fn run(sql: &str) -> Result<(), Report> {
    let text = CString::new(sql).map_err(|_| {
        Report::new(PgSqlErrorCode::ERRCODE_SYNTAX_ERROR, "the statement contains a zero byte")
    })?;
    outside(|| {
        let _own_work = OwnWork::begin();
        // SAFETY: guarded calls, in the order that a client's command has them.
        // The statement lives in a context of its own, because it may commit
        // on its way; the context is a child of the top one and is deleted
        // here, or kept after an error until the worker ends.
        unsafe {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
            let context = pg_sys::AllocSetContextCreateExtended(
                pg_sys::TopMemoryContext,
                c"shardman job statement".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            pg_sys::MemoryContextSwitchTo(context);
            let parsed = pg_sys::pg_parse_query(text.as_ptr());
            let raw: *mut pg_sys::RawStmt = pg_sys::list_nth(parsed, 0).cast();
            let mut planned =
                PgBox::<pg_sys::PlannedStmt>::alloc_node(pg_sys::NodeTag::T_PlannedStmt);
            planned.commandType = pg_sys::CmdType::CMD_UTILITY;
            planned.canSetTag = true;
            planned.utilityStmt = (*raw).stmt;
            let before = pg_sys::PortalContext;
            pg_sys::PortalContext = context;
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            pg_sys::ProcessUtility(
                planned.into_pg(),
                text.as_ptr(),
                false,
                pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL,
                null_mut(),
                null_mut(),
                pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestNone),
                null_mut(),
            );
            if pg_sys::ActiveSnapshotSet() {
                pg_sys::PopActiveSnapshot();
            }
            pg_sys::PortalContext = before;
            pg_sys::CommitTransactionCommand();
            pg_sys::MemoryContextDelete(context);
        }
        Ok(())
    })
}
