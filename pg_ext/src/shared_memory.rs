//! Our part of PostgreSQL's shared memory: one place for each backend.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use pgrx::prelude::*;

use crate::compat;
use crate::deadlock::Place;

/// The hooks that were there before us.
static mut PREVIOUS_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut PREVIOUS_STARTUP: pg_sys::shmem_startup_hook_type = None;

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
        pg_sys::RequestAddinShmemSpace(count() * size_of::<Place>());
    }
}

unsafe extern "C-unwind" fn startup() {
    // SAFETY: plain-old frame; the postmaster creates the segment before any
    // backend exists, so no lock is needed; fresh shared memory is zeroed here.
    unsafe {
        if let Some(previous) = PREVIOUS_STARTUP {
            previous();
        }
        let size = count() * size_of::<Place>();
        let mut found = false;
        let first = pg_sys::ShmemInitStruct(c"shardman backends".as_ptr(), size, &mut found);
        if !found {
            std::ptr::write_bytes(first.cast::<u8>(), 0, size);
        }
        COUNT.store(count(), Ordering::Relaxed);
        PLACES.store(first.cast(), Ordering::Relaxed);
    }
}
