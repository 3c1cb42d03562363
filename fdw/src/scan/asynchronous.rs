//! Async Append: scans of several nodes run at the same time.
//!
//! All scans of one node share its session, each with a portal of its own; their
//! chunks come back in the order in which they were asked for. So only the scan
//! whose chunk comes first watches the socket, and whoever reads from the socket
//! hands out what arrived to all. A scan is reported pending only when its chunk
//! is not in user space: the socket would never announce that one again.
#![allow(unsafe_code)]

use std::rc::Rc;

use pgrx::pg_sys;

use super::relation::RelationPlan;
use super::source::Source;
use super::state::ScanState;
use super::upper::upper_is_async;
use crate::error::callback;
use crate::placement::Placement;

/// Not bound by pgrx, or bound behind a guard. Called from plain-old frames only.
mod raw {
    use std::ffi::c_void;

    use pgrx::pg_sys::{AsyncRequest, Instrumentation, Latch, TupleTableSlot, WaitEventSet};
    unsafe extern "C-unwind" {
        pub fn ExecAsyncRequestDone(request: *mut AsyncRequest, result: *mut TupleTableSlot);
        pub fn ExecAsyncRequestPending(request: *mut AsyncRequest);
        pub fn ExecAsyncResponse(request: *mut AsyncRequest);
        pub fn AddWaitEventToSet(
            set: *mut WaitEventSet,
            events: u32,
            socket: i32,
            latch: *mut Latch,
            user_data: *mut c_void,
        ) -> i32;
        pub fn InstrUpdateTupleCount(instrument: *mut Instrumentation, rows: f64);
    }
}

/// A request that waits for a chunk. Its scan owns it, so that it goes with the
/// scan's memory; the session only knows of it.
pub struct Waiting {
    /// The chunk's.
    pub ticket: crate::transport::Ticket,
    request: *mut pg_sys::AsyncRequest,
    requestor: *mut pg_sys::PlanState,
}

/// Whether scans of a relation may run at the same time as others: by default
/// on nodes of the cluster, where `async_capable` says so on other servers.
///
/// Never with row locks: two statements that lock the same rows of several nodes
/// must go through the nodes in the same order, or each may wait for the other
/// with no server seeing both.
pub fn may_run_asynchronously(
    placement: Placement,
    options: &crate::options::OptionList,
    locks_rows: bool,
) -> bool {
    let by_default = matches!(placement, Placement::Node(_));
    !locks_rows && options.get_bool("async_capable").unwrap_or(by_default)
}

/// A plain-old frame.
pub unsafe extern "C-unwind" fn is_async_capable(path: *mut pg_sys::ForeignPath) -> bool {
    use pg_sys::RelOptKind::{RELOPT_BASEREL, RELOPT_OTHER_MEMBER_REL};
    use pg_sys::RelOptKind::{RELOPT_JOINREL, RELOPT_OTHER_JOINREL};
    // SAFETY: called by the planner; base relations carry a RelationPlan.
    unsafe {
        let rel = (*path).path.parent;
        match (*rel).reloptkind {
            RELOPT_BASEREL | RELOPT_OTHER_MEMBER_REL => {
                (*(*rel).fdw_private.cast::<RelationPlan>()).is_async
            }
            RELOPT_JOINREL | RELOPT_OTHER_JOINREL => {
                (*(*rel).fdw_private.cast::<Source>()).is_async
            }
            _ => upper_is_async(rel),
        }
    }
}

/// The next row if it is here; otherwise its chunk is on its way.
pub unsafe extern "C-unwind" fn request(request: *mut pg_sys::AsyncRequest) {
    // SAFETY: called by Append; no destructor in this frame.
    unsafe { produce(request) }
}

/// Has the socket watched, unless another scan of the same Append does or the
/// chunk has been read meanwhile on behalf of something else.
pub unsafe extern "C-unwind" fn configure_wait(request: *mut pg_sys::AsyncRequest) {
    // SAFETY: called by Append while it builds its wait set; no destructor in
    // this frame.
    unsafe {
        let node = (*request).requestee.cast();
        if callback(|| ScanState::of(node).has_news()) {
            deliver(request);
            if (*request).request_complete {
                return;
            }
        }
        let (socket, events) = callback(|| Ok(ScanState::of(node).socket_to_watch()));
        if events != 0 {
            let append: *mut pg_sys::AppendState = (*request).requestor.cast();
            raw::AddWaitEventToSet(
                (*append).as_eventset,
                events,
                socket,
                std::ptr::null_mut(),
                request.cast(),
            );
        }
    }
}

/// The socket has something: for this scan, for others, or only a part.
pub unsafe extern "C-unwind" fn notify(request: *mut pg_sys::AsyncRequest) {
    // SAFETY: called by Append; no destructor in this frame.
    unsafe {
        let node = (*request).requestee.cast();
        callback(|| ScanState::of(node).receive());
        produce(request);
        loop {
            let other = callback(|| Ok(ScanState::of(node).sibling_with_news(request)));
            if other.is_null() {
                return;
            }
            deliver(other);
        }
    }
}

/// Completes the request or leaves it pending.
///
/// # Safety
/// `request` is Append's, to a scan that has begun. May longjmp.
unsafe fn produce(request: *mut pg_sys::AsyncRequest) {
    // SAFETY: per the contract. ExecProcNodeReal applies local conditions and
    // the projection to the rows that `iterate` finds.
    unsafe {
        let node: *mut pg_sys::ForeignScanState = (*request).requestee.cast();
        callback(|| {
            ScanState::of(node).wait_no_more();
            Ok(())
        });
        let Some(next) = (*node).ss.ps.ExecProcNodeReal else { return };
        let slot = next(&raw mut (*node).ss.ps);
        let is_row = !slot.is_null() && u32::from((*slot).tts_flags) & pg_sys::TTS_FLAG_EMPTY == 0;
        if is_row {
            raw::ExecAsyncRequestDone(request, slot);
        } else if callback(|| ScanState::of(node).wait_as(request)) {
            raw::ExecAsyncRequestPending(request);
        } else {
            raw::ExecAsyncRequestDone(request, std::ptr::null_mut());
        }
    }
}

/// As Append's own notification, for a request whose turn it is not.
///
/// # Safety
/// `request` is pending. May longjmp.
unsafe fn deliver(request: *mut pg_sys::AsyncRequest) {
    // SAFETY: per the contract.
    unsafe {
        (*request).callback_pending = false;
        produce(request);
        raw::ExecAsyncResponse(request);
        let instrument = (*(*request).requestee).instrument;
        if !instrument.is_null() && (*request).request_complete && !(*request).result.is_null() {
            raw::InstrUpdateTupleCount(instrument, 1.0);
        }
    }
}

impl Waiting {
    /// For a request whose chunk has this ticket.
    ///
    /// # Safety
    /// `request` outlives the result.
    pub unsafe fn new(
        ticket: crate::transport::Ticket,
        request: *mut pg_sys::AsyncRequest,
    ) -> Rc<Waiting> {
        // SAFETY: per the contract.
        Rc::new(Waiting { ticket, request, requestor: unsafe { (*request).requestor } })
    }

    /// The waiting request.
    pub fn request(&self) -> *mut pg_sys::AsyncRequest {
        self.request
    }

    /// True if both wait in the same Append.
    pub fn is_sibling_of(&self, other: &Waiting) -> bool {
        self.requestor == other.requestor
    }
}
