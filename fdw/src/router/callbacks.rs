//! The executor's calls, as plain-old frames: the leaf's plan runs between them
//! unguarded, so that its errors keep all their fields.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::pg_sys::{CustomExecMethods, CustomScan, CustomScanMethods, EState, NodeTag};

use super::running::{Running, Step};
use super::{explain, local, memo, statement_triggers};
use crate::error::{Error, Refusal, callback};
use crate::session;

/// The executor's node with what is ours behind it.
#[repr(C)]
pub struct RouterScan {
    /// As PostgreSQL knows it.
    pub scan: pg_sys::CustomScanState,
    /// Null until it has begun.
    pub running: *mut Running,
    /// The target, once triggers BEFORE the statement have been fired, until those
    /// AFTER it have.
    pub target: *mut pg_sys::ResultRelInfo,
    /// Those BEFORE have been.
    pub has_fired: bool,
}

/// A table of callbacks that is never written to.
pub struct Methods<T>(pub T);

// SAFETY: constant function pointers and a constant name.
unsafe impl<T> Sync for Methods<T> {}

/// Of the plan.
pub static SCAN_METHODS: Methods<CustomScanMethods> = Methods(CustomScanMethods {
    CustomName: c"Router".as_ptr(),
    CreateCustomScanState: Some(create),
});

static EXEC_METHODS: Methods<CustomExecMethods> = Methods(CustomExecMethods {
    CustomName: c"Router".as_ptr(),
    BeginCustomScan: Some(begin),
    ExecCustomScan: Some(execute),
    EndCustomScan: Some(end),
    ReScanCustomScan: Some(rescan),
    MarkPosCustomScan: None,
    RestrPosCustomScan: None,
    EstimateDSMCustomScan: None,
    InitializeDSMCustomScan: None,
    ReInitializeDSMCustomScan: None,
    InitializeWorkerCustomScan: None,
    ShutdownCustomScan: None,
    ExplainCustomScan: Some(explain::explain),
});

/// Makes the plan node known; once, at load.
pub fn init() {
    memo::init();
    // SAFETY: guarded; the table lives as long as the process.
    unsafe { pg_sys::RegisterCustomScanMethods(&raw const SCAN_METHODS.0) }
}

unsafe extern "C-unwind" fn create(_plan: *mut CustomScan) -> *mut pg_sys::Node {
    // SAFETY: called by the executor; zeroed memory of the node's size.
    unsafe {
        callback(|| {
            let node: *mut RouterScan = pg_sys::palloc0(size_of::<RouterScan>()).cast();
            (*node).scan.ss.ps.type_ = NodeTag::T_CustomScanState;
            (*node).scan.methods = &raw const EXEC_METHODS.0;
            Ok(node.cast())
        })
    }
}

unsafe extern "C-unwind" fn begin(
    node: *mut pg_sys::CustomScanState,
    _estate: *mut EState,
    _flags: i32,
) {
    let node: *mut RouterScan = node.cast();
    // SAFETY: called by the executor with a node of `create`; no destructor is live
    // in this frame.
    unsafe {
        callback(|| Running::begin(node));
        if callback(|| Ok(is_cursor((*node).scan.ss.ps.state))) {
            prepare(node);
            callback(|| Running::of(node).bind());
        }
    }
}

/// Whether rows are read by and by, while other statements run.
unsafe fn is_cursor(estate: *mut EState) -> bool {
    // SAFETY: the executor's; the active portal is valid. Portals of EXECUTE have names,
    // but nobody sees them.
    unsafe {
        (*(*estate).es_plannedstmt).commandType == pg_sys::CmdType::CMD_SELECT
            && session::is_a_cursors(estate)
            && pg_sys::ActivePortal.as_ref().is_some_and(|portal| portal.visible)
    }
}

/// Brings a node to where rows can be asked for.
///
/// # Safety
/// `node` has begun; called from a plain-old frame.
pub unsafe fn prepare(node: *mut RouterScan) {
    // SAFETY: the executor's pointers; no destructor is live in this frame.
    unsafe {
        let estate = (*node).scan.ss.ps.state;
        let former = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = (*estate).es_query_cxt;
        loop {
            match callback(|| Running::of(node).prepare(node)) {
                Step::Ready => break,
                Step::Evaluate { expressions, values, nulls, count } => {
                    let context = (*node).scan.ss.ps.ps_ExprContext;
                    let mut i = 0;
                    while i < count {
                        let state = *expressions.add(i);
                        if let Some(evaluate) = (*state).evalfunc {
                            *values.add(i) = evaluate(state, context, nulls.add(i));
                        }
                        i += 1;
                    }
                }
                Step::Plan { query, parameters } => {
                    let planned = local::plan(query, (*estate).es_sourceText, parameters);
                    callback(|| Running::of(node).planned(planned));
                }
                Step::Start { planned, parameters } => {
                    let started = local::start(estate, planned, parameters);
                    callback(|| {
                        Running::of(node).started(started);
                        Ok(())
                    });
                }
            }
        }
        pg_sys::CurrentMemoryContext = former;
    }
}

unsafe extern "C-unwind" fn execute(
    node: *mut pg_sys::CustomScanState,
) -> *mut pg_sys::TupleTableSlot {
    let node: *mut RouterScan = node.cast();
    // SAFETY: called by the executor after `begin`; no destructor in this frame.
    unsafe {
        let estate = (*node).scan.ss.ps.state;
        let triggers = (*(*node).running).triggers();
        if triggers.fire() && !(*node).has_fired {
            (*node).has_fired = true;
            let former = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = (*estate).es_query_cxt;
            (*node).target = statement_triggers::before(estate, triggers);
            pg_sys::CurrentMemoryContext = former;
        }
        loop {
            if !(*(*node).running).is_ready() {
                prepare(node);
            }
            let query = (*(*node).running).local();
            let slot = if query.is_null() {
                callback(|| Running::of(node).fetch(node));
                (*node).scan.ss.ss_ScanTupleSlot
            } else {
                local::next(estate, query)
            };
            let is_row = !slot.is_null() && (*slot).tts_flags as u32 & pg_sys::TTS_FLAG_EMPTY == 0;
            let repeats = (*(*node).running).partitions().is_some();
            if is_row {
                return slot;
            }
            if !repeats || !callback(|| Ok(Running::of(node).advance())) {
                if !(*node).target.is_null() {
                    statement_triggers::after(estate, triggers, (*node).target);
                    (*node).target = null_mut();
                }
                return slot;
            }
            if !query.is_null() {
                local::end(query);
            }
        }
    }
}

unsafe extern "C-unwind" fn end(node: *mut pg_sys::CustomScanState) {
    let node: *mut RouterScan = node.cast();
    // SAFETY: called by the executor after `begin`; no destructor in this frame.
    unsafe {
        if (*node).running.is_null() {
            return;
        }
        let query = (*(*node).running).local();
        if query.is_null() {
            callback(|| {
                Running::of(node).end();
                Ok(())
            });
        } else {
            local::end(query);
        }
    }
}

/// Only cursors go back, and those keep their rows.
unsafe extern "C-unwind" fn rescan(_node: *mut pg_sys::CustomScanState) {
    // SAFETY: no destructor is live here.
    unsafe {
        callback(|| -> Result<(), Error> {
            Err(Refusal::internal("a routed statement cannot be run again").into())
        })
    }
}

/// The next row is not there: what the executor takes for the end.
pub const NO_ROW: *mut pg_sys::TupleTableSlot = null_mut();
