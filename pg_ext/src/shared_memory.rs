//! Our part of PostgreSQL's shared memory: counters, and a place for each
//! backend.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use pgrx::prelude::*;

use crate::compat;
use crate::counters::Counters;
use crate::deadlock::Place;
use crate::row_log::Memory;
use crate::schema_change::Standing;

/// The hooks that were there before us.
static mut PREVIOUS_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut PREVIOUS_STARTUP: pg_sys::shmem_startup_hook_type = None;

static COUNTERS: AtomicPtr<Counters> = AtomicPtr::new(std::ptr::null_mut());
static STANDING: AtomicPtr<Standing> = AtomicPtr::new(std::ptr::null_mut());
static ROW_LOGS: AtomicPtr<Memory> = AtomicPtr::new(std::ptr::null_mut());
static PLACES: AtomicPtr<Place> = AtomicPtr::new(std::ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Asks for the memory. Called while the library is preloaded.
pub fn init() {
    // SAFETY: hooks are set while the postmaster loads libraries, before any
    // backend exists.
    unsafe {
        PREVIOUS_REQUEST = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(request);
        PREVIOUS_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(startup);
    }
}

/// The places of all backends, in the order of their PGPROCs; none before the
/// server has started up.
pub fn places() -> &'static [Place] {
    let first = PLACES.load(Ordering::Relaxed);
    if first.is_null() {
        return &[];
    }
    // SAFETY: `startup` put COUNT zeroed places there, which is a valid value
    // of each; the segment outlives the process. Places are all atomics.
    unsafe { std::slice::from_raw_parts(first, COUNT.load(Ordering::Relaxed)) }
}

/// This node's counters; `None` before the server has started up.
pub fn counters() -> Option<&'static Counters> {
    // SAFETY: null, or what `startup` put there: zeroed atomics, in memory that
    // outlives the process.
    unsafe { COUNTERS.load(Ordering::Relaxed).as_ref() }
}

/// How this node stands to the schema; `None` before the server has started up.
pub fn standing() -> Option<&'static Standing> {
    // SAFETY: as above.
    unsafe { STANDING.load(Ordering::Relaxed).as_ref() }
}

/// How far this node has applied row logs; `None` before the server has started
/// up.
pub fn row_logs() -> Option<&'static Memory> {
    // SAFETY: as above; what is no atomic in it is PostgreSQL's own.
    unsafe { ROW_LOGS.load(Ordering::Relaxed).as_ref() }
}

/// This backend's place; `None` in processes that run no transactions.
pub fn my_place() -> Option<&'static Place> {
    // SAFETY: MyProc is null or this process's PGPROC.
    unsafe {
        let process = pg_sys::MyProc;
        if process.is_null() { None } else { places().get(compat::process_number(process)) }
    }
}

/// MaxBackends is known by the time that memory is asked for.
fn count() -> usize {
    // SAFETY: reads a variable that does not change any more.
    usize::try_from(unsafe { pg_sys::MaxBackends }).unwrap_or(0)
}

unsafe extern "C-unwind" fn request() {
    // SAFETY: plain-old frame; called by the postmaster when it sums up.
    unsafe {
        if let Some(previous) = PREVIOUS_REQUEST {
            previous();
        }
        // Each structure begins at a multiple of a cache line.
        let rounding = 4 * 128;
        pg_sys::RequestAddinShmemSpace(
            count() * size_of::<Place>()
                + size_of::<Counters>()
                + size_of::<Standing>()
                + size_of::<Memory>()
                + rounding,
        );
    }
}

unsafe extern "C-unwind" fn startup() {
    // SAFETY: plain-old frame; the postmaster creates the segment before any
    // backend exists, so no lock is needed; fresh shared memory is zeroed here.
    unsafe {
        if let Some(previous) = PREVIOUS_STARTUP {
            previous();
        }
        PLACES.store(zeroed(c"shardman backends", count() * size_of::<Place>()), Ordering::Relaxed);
        COUNTERS.store(zeroed(c"shardman counters", size_of::<Counters>()), Ordering::Relaxed);
        STANDING.store(zeroed(c"shardman standing", size_of::<Standing>()), Ordering::Relaxed);
        let row_logs: *mut Memory = zeroed(c"shardman row logs", size_of::<Memory>());
        Memory::begin(row_logs);
        ROW_LOGS.store(row_logs, Ordering::Relaxed);
        COUNT.store(count(), Ordering::Relaxed);
    }
}

/// SAFETY: called while the postmaster sets shared memory up; all zeroes is a
/// valid `T`.
unsafe fn zeroed<T>(name: &CStr, size: usize) -> *mut T {
    let mut found = false;
    // SAFETY: the caller's; the memory is `size` long.
    unsafe {
        let first = pg_sys::ShmemInitStruct(name.as_ptr(), size, &mut found);
        if !found {
            std::ptr::write_bytes(first.cast::<u8>(), 0, size);
        }
        first.cast()
    }
}
