//! The table of callbacks.
#![allow(unsafe_code)]

use pgrx::pg_sys;

use crate::{analyze, explain, import, modify, scan};

/// A fresh routine in the current memory context; what the wrapper's handler
/// function returns.
pub fn handler() -> *mut pg_sys::FdwRoutine {
    // SAFETY: zeroed memory of the node's size; every absent callback is null.
    unsafe {
        let routine: *mut pg_sys::FdwRoutine =
            pg_sys::palloc0(size_of::<pg_sys::FdwRoutine>()).cast();
        (*routine).type_ = pg_sys::NodeTag::T_FdwRoutine;

        (*routine).GetForeignRelSize = Some(scan::get_rel_size);
        (*routine).GetForeignPaths = Some(scan::get_paths);
        (*routine).GetForeignJoinPaths = Some(scan::get_join_paths);
        (*routine).GetForeignUpperPaths = Some(scan::get_upper_paths);
        (*routine).GetForeignPlan = Some(scan::get_plan);
        (*routine).BeginForeignScan = Some(scan::begin);
        (*routine).IterateForeignScan = Some(scan::iterate);
        (*routine).ReScanForeignScan = Some(scan::rescan);
        (*routine).RecheckForeignScan = Some(scan::recheck);
        (*routine).EndForeignScan = Some(scan::end);
        (*routine).IsForeignPathAsyncCapable = Some(scan::is_async_capable);
        (*routine).ForeignAsyncRequest = Some(scan::request);
        (*routine).ForeignAsyncConfigureWait = Some(scan::configure_wait);
        (*routine).ForeignAsyncNotify = Some(scan::notify);

        (*routine).AddForeignUpdateTargets = Some(modify::add_update_targets);
        (*routine).PlanForeignModify = Some(modify::plan_modify);
        (*routine).BeginForeignModify = Some(modify::begin_modify);
        (*routine).ExecForeignInsert = Some(modify::insert);
        (*routine).ExecForeignBatchInsert = Some(modify::batch_insert);
        (*routine).GetForeignModifyBatchSize = Some(modify::batch_size);
        (*routine).ExecForeignUpdate = Some(modify::update);
        (*routine).ExecForeignDelete = Some(modify::delete);
        (*routine).EndForeignModify = Some(modify::end_modify);
        (*routine).BeginForeignInsert = Some(modify::begin_insert);
        (*routine).EndForeignInsert = Some(modify::end_insert);
        (*routine).IsForeignRelUpdatable = Some(modify::is_updatable);
        (*routine).ExecForeignTruncate = Some(modify::truncate);

        (*routine).PlanDirectModify = Some(modify::plan_direct);
        (*routine).BeginDirectModify = Some(scan::begin);
        (*routine).IterateDirectModify = Some(modify::iterate_direct);
        (*routine).EndDirectModify = Some(scan::end);
        (*routine).ExplainDirectModify = Some(explain::explain_scan);

        (*routine).ExplainForeignScan = Some(explain::explain_scan);
        (*routine).ExplainForeignModify = Some(modify::explain_modify);
        (*routine).ImportForeignSchema = Some(import::import_schema);
        (*routine).AnalyzeForeignTable = Some(analyze::analyze_table);
        routine
    }
}
