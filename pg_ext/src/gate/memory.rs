//! The gate's place in shared memory.
#![allow(unsafe_code)]

use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::prelude::*;

use super::looks::Looks;
use super::state::{Gate, set_time_base};

static GATE: AtomicPtr<Gate> = AtomicPtr::new(null_mut());
static mut PREVIOUS_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut PREVIOUS_STARTUP: pg_sys::shmem_startup_hook_type = None;

/// The gate; `None` before shared memory was set up.
pub fn gate() -> Option<&'static Gate> {
    // SAFETY: null, or initialised memory that stays mapped as long as this
    // process; all fields are atomics or guarded by PostgreSQL's own means.
    unsafe { GATE.load(Ordering::Relaxed).as_ref() }
}

/// The looks for this node's participants in doubt; `None` before shared memory
/// was set up.
pub fn looks() -> Option<&'static Looks> {
    gate().map(|gate| &gate.looks)
}

/// Asks for the memory. Called while the library is preloaded.
pub fn request_memory() {
    set_time_base();
    // SAFETY: hooks are set while the postmaster loads libraries.
    unsafe {
        PREVIOUS_REQUEST = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(request);
        PREVIOUS_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(startup);
    }
}

/// A plain-old frame.
unsafe extern "C-unwind" fn request() {
    // SAFETY: called by the postmaster at the one time when memory may be asked for.
    unsafe {
        if let Some(previous) = PREVIOUS_REQUEST {
            previous();
        }
        pg_sys::RequestAddinShmemSpace(size_of::<Gate>());
    }
}

/// A plain-old frame. Runs again, on fresh memory, after a crash.
unsafe extern "C-unwind" fn startup() {
    // SAFETY: called by the postmaster once shared memory is there; it is alone,
    // so that no lock is needed; the memory is as large as asked for.
    unsafe {
        if let Some(previous) = PREVIOUS_STARTUP {
            previous();
        }
        let mut found = false;
        let place: *mut Gate =
            pg_sys::ShmemInitStruct(c"shardman gate".as_ptr(), size_of::<Gate>(), &raw mut found)
                .cast();
        if !found {
            place.write(Gate::new());
            pg_sys::ConditionVariableInit((*place).moved.get());
        }
        GATE.store(place, Ordering::Relaxed);
    }
}
