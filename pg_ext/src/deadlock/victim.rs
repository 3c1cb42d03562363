//! Making a waiting transaction give way, as PostgreSQL's own detector would:
//! with 40P01 at the place where it waits.
//!
//! A server has no way to raise an error in another backend but to cancel its
//! statement. So the verdict is laid down in the backend's place, the statement
//! is cancelled, and an error context callback at the far end of the backend's
//! stack of such turns that one "canceling statement" into what it is. Context
//! callbacks see every error before anybody can catch it, and may change it
//! (`errfinish` calls them while the report is still open).
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::Ordering;

use pgrx::prelude::*;

use super::place::{LONGEST_DETAIL, cut};
use crate::compat;
use crate::counters::note_deadlock;
use crate::shared_memory::{my_place, places};

/// No verdict.
const NONE: u32 = 0;
/// One is being laid down.
const WRITING: u32 = 1;
/// One is there.
const GIVEN: u32 = 2;

/// Microseconds from PostgreSQL's epoch, 2000-01-01, to Unix's.
pub const EPOCH: i64 = 946_684_800_000_000;

mod raw {
    use std::ffi::{c_char, c_int};

    // Unguarded: called from a plain-old frame inside of error reporting.
    unsafe extern "C-unwind" {
        pub fn geterrcode() -> c_int;
        pub fn errcode(sqlerrcode: c_int) -> c_int;
        pub fn errmsg(fmt: *const c_char, ...) -> c_int;
        pub fn errdetail_internal(fmt: *const c_char, ...) -> c_int;
    }
}

/// Registers the callbacks; once, at load.
pub fn init() {
    // SAFETY: plain functions that raise nothing.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_transaction), null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_subtransaction), null_mut());
    }
}

/// Ends a wait for a lock with 40P01, if the process still waits as it did
/// `since` (microseconds of the Unix epoch). False if it does not, or if
/// somebody is ending it already.
pub fn end_wait(pid: i32, since: i64, detail: &str) -> bool {
    // SAFETY: finds the PGPROC or null; PGPROCs are never freed, and what is
    // read may change any time, which is why the backend looks again.
    unsafe {
        let process = pg_sys::BackendPidGetProc(pid);
        if process.is_null() {
            return false;
        }
        let transaction = compat::transaction_of(process);
        // The leader of a parallel query stands for its workers' waits.
        let processes = (*pg_sys::ProcGlobal).allProcs;
        let still_waits = (0..places().len()).map(|at| processes.add(at)).any(|other| {
            (other == process || (*other).lockGroupLeader == process)
                && !(*other).waitLock.is_null()
                && waiting_since(other) == since
        });
        transaction != 0 && still_waits && condemn(process, since, detail)
    }
}

/// Cancels what a process is at, with 40001: a log has decided about rows that it
/// holds. False if somebody is ending it already.
pub fn give_way(pid: i32, detail: &str) -> bool {
    // SAFETY: finds the PGPROC or null; PGPROCs are never freed.
    unsafe {
        let process = pg_sys::BackendPidGetProc(pid);
        !process.is_null() && condemn(process, 0, detail)
    }
}

/// Whether a process has appended changes to a log.
pub fn has_asked_log(pid: i32) -> bool {
    // SAFETY: as above.
    unsafe {
        let process = pg_sys::BackendPidGetProc(pid);
        let place =
            if process.is_null() { None } else { places().get(compat::process_number(process)) };
        place.is_some_and(|place| place.asked_log.load(Ordering::Acquire) != 0)
    }
}

/// Lays down a verdict and cancels the statement.
///
/// SAFETY: a valid PGPROC.
unsafe fn condemn(process: *mut pg_sys::PGPROC, since: i64, detail: &str) -> bool {
    // SAFETY: the caller's; what is read may change any time, which is why the
    // backend looks again.
    unsafe {
        let transaction = compat::transaction_of(process);
        if transaction == 0 {
            return false;
        }
        let Some(place) = places().get(compat::process_number(process)) else { return false };
        let verdict = &place.verdict;
        let state = verdict.state.load(Ordering::Acquire);
        let is_this = verdict.transaction.load(Ordering::Relaxed) == transaction
            && verdict.since.load(Ordering::Relaxed) == since;
        if state == WRITING || (state == GIVEN && is_this) {
            return false;
        }
        let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
        if verdict.state.compare_exchange(state, WRITING, acquire, relaxed).is_err() {
            return false;
        }
        let detail = cut(detail);
        for (to, from) in verdict.detail.iter().zip(detail.as_bytes()) {
            to.store(*from, relaxed);
        }
        verdict.length.store(detail.as_bytes().len() as u32, relaxed);
        verdict.since.store(since, relaxed);
        verdict.transaction.store(transaction, relaxed);
        verdict.state.store(GIVEN, Ordering::Release);
        libc::kill((*process).pid, libc::SIGINT) == 0
    }
}

/// Since when a process has been waiting for a lock, in microseconds of the
/// Unix epoch.
///
/// # Safety
/// `process` is a valid PGPROC.
pub unsafe fn waiting_since(process: *const pg_sys::PGPROC) -> i64 {
    // SAFETY: the caller's; eight aligned bytes, which others may be writing.
    let since = unsafe { std::ptr::read_volatile(&raw const (*process).waitStart.value) };
    since as i64 + EPOCH
}

/// Sees to it that this backend's errors pass by us. Everything that catches
/// errors brings back the stack of error contexts as it was, and an error that
/// reaches the main loop empties it; so this is called wherever a transaction or
/// a part of one ends, which is outside of all that, and again when a
/// transaction turns out to be distributed.
pub fn listen() {
    static mut CONTEXT: pg_sys::ErrorContextCallback = pg_sys::ErrorContextCallback {
        previous: null_mut(),
        callback: Some(on_error),
        arg: null_mut(),
    };
    // SAFETY: the backend has one thread; entries of the stack are valid while
    // they are on it. Ours stays the last one: whoever pops an entry goes on
    // with what that entry names as previous.
    unsafe {
        let ours = &raw mut CONTEXT;
        let mut link = &raw mut pg_sys::error_context_stack;
        while !(*link).is_null() {
            if *link == ours {
                return;
            }
            link = &raw mut (**link).previous;
        }
        *link = ours;
    }
}

/// A plain-old frame.
unsafe extern "C-unwind" fn on_error(_argument: *mut c_void) {
    const CANCELED: c_int = PgSqlErrorCode::ERRCODE_QUERY_CANCELED as c_int;
    const SERIALIZATION: c_int = PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE as c_int;
    const DEADLOCK: c_int = PgSqlErrorCode::ERRCODE_T_R_DEADLOCK_DETECTED as c_int;
    // SAFETY: called by errfinish with a report open; the setters copy their
    // arguments.
    unsafe {
        if raw::geterrcode() != CANCELED {
            return;
        }
        let mut detail = [0u8; LONGEST_DETAIL + 1];
        if let Some(is_deadlock) = take_verdict(&mut detail) {
            if is_deadlock {
                note_deadlock();
                raw::errcode(DEADLOCK);
                raw::errmsg(c"deadlock detected".as_ptr());
            } else {
                raw::errcode(SERIALIZATION);
                raw::errmsg(
                    c"could not serialize access due to a concurrent change on another node"
                        .as_ptr(),
                );
            }
            let detail = CStr::from_bytes_until_nul(&detail).unwrap_or_default();
            let verbatim: *const c_char = c"%s".as_ptr();
            raw::errdetail_internal(verbatim, detail.as_ptr());
        }
    }
}

/// Whether the verdict on this backend's running transaction is about a deadlock;
/// once.
fn take_verdict(detail: &mut [u8; LONGEST_DETAIL + 1]) -> Option<bool> {
    let place = my_place()?;
    let verdict = &place.verdict;
    if verdict.state.load(Ordering::Acquire) != GIVEN {
        return None;
    }
    let is_meant = verdict.transaction.load(Ordering::Relaxed) == compat::local_transaction_id();
    let length = verdict.length.load(Ordering::Relaxed) as usize;
    for (to, from) in detail.iter_mut().zip(&verdict.detail).take(length) {
        *to = from.load(Ordering::Relaxed);
    }
    let is_deadlock = verdict.since.load(Ordering::Relaxed) != 0;
    verdict.state.store(NONE, Ordering::Release);
    is_meant.then_some(is_deadlock)
}

unsafe extern "C-unwind" fn at_transaction(event: pg_sys::XactEvent::Type, _argument: *mut c_void) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PREPARE};
    if matches!(event, XACT_EVENT_COMMIT | XACT_EVENT_ABORT | XACT_EVENT_PREPARE) {
        listen();
    }
}

unsafe extern "C-unwind" fn at_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    _mine: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _argument: *mut c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        listen();
    }
}
