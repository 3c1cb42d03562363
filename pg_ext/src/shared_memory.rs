//! Our part of PostgreSQL's shared memory: the one place that asks for it.
//!
//! A module that keeps something there declares a [`Shared`] and enters it in
//! [`AREAS`].
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use pgrx::prelude::*;

use crate::compat;
use crate::counters::Counters;
use crate::deadlock::Place;
use crate::row_log::Memory;
use crate::schema_change::Standing;
use crate::{gate, sequence};

static COUNTERS: Shared<Counters> =
    // SAFETY: atomics.
    unsafe { Shared::zeroed(c"shardman counters", || 1) };
static STANDING: Shared<Standing> =
    // SAFETY: atomics.
    unsafe { Shared::zeroed(c"shardman standing", || 1) };
static PLACES: Shared<Place> =
    // SAFETY: atomics.
    unsafe { Shared::zeroed(c"shardman backends", backends) };

static ROW_LOGS: Shared<Memory> =
    // SAFETY: `begin` makes one.
    unsafe { Shared::made(c"shardman row logs", Memory::begin) };

/// Everything of ours in shared memory.
static AREAS: [&(dyn Area + Sync); 7] =
    [&PLACES, &COUNTERS, &STANDING, &ROW_LOGS, &gate::GATE, &sequence::SLOTS, &sequence::LOCK];

/// The hooks that were there before us.
static mut PREVIOUS_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut PREVIOUS_STARTUP: pg_sys::shmem_startup_hook_type = None;

/// What the postmaster does about a piece of shared memory.
pub trait Area {
    /// Asks for it.
    ///
    /// # Safety
    /// Called in the postmaster at the one time when memory may be asked for.
    unsafe fn request(&self);

    /// Finds it; fills it if it is new.
    ///
    /// # Safety
    /// Called in the postmaster when shared memory is there and nobody else is;
    /// again, on fresh memory, after a crash.
    unsafe fn find(&self);
}

/// Values of one type in shared memory. All processes write to them at the same
/// time: what is in a `T` is atomic, or guarded by PostgreSQL's own means.
pub struct Shared<T> {
    name: &'static CStr,
    count: fn() -> usize,
    /// Makes one in zeroed memory.
    make: Option<unsafe fn(*mut T)>,
    first: AtomicPtr<T>,
    length: AtomicUsize,
}

impl<T: Sync> Shared<T> {
    /// `count()` of them, all zeroes. It is asked for when MaxBackends is known.
    ///
    /// # Safety
    /// All zeroes is a valid `T`.
    pub const unsafe fn zeroed(name: &'static CStr, count: fn() -> usize) -> Shared<T> {
        Shared {
            name,
            count,
            make: None,
            first: AtomicPtr::new(std::ptr::null_mut()),
            length: AtomicUsize::new(0),
        }
    }

    /// One that `make` makes.
    ///
    /// # Safety
    /// `make` puts a valid `T` where it is told to.
    pub const unsafe fn made(name: &'static CStr, make: unsafe fn(*mut T)) -> Shared<T> {
        Shared {
            name,
            count: || 1,
            make: Some(make),
            first: AtomicPtr::new(std::ptr::null_mut()),
            length: AtomicUsize::new(0),
        }
    }

    /// All of them; none before the server has started up.
    pub fn all(&self) -> &'static [T] {
        let first = self.first.load(Ordering::Relaxed);
        if first.is_null() {
            return &[];
        }
        // SAFETY: `find` put so many there, each valid; the segment outlives the
        // process.
        unsafe { std::slice::from_raw_parts(first, self.length.load(Ordering::Relaxed)) }
    }

    /// The first of them; `None` before the server has started up.
    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: null, or what `find` put there, as above.
        unsafe { self.first.load(Ordering::Relaxed).as_ref() }
    }

    fn size(&self) -> usize {
        (self.count)() * size_of::<T>()
    }
}

impl<T: Sync> Area for Shared<T> {
    unsafe fn request(&self) {
        // Each begins at a multiple of a cache line.
        const ROUNDING: usize = 128;
        // SAFETY: the caller's.
        unsafe { pg_sys::RequestAddinShmemSpace(self.size() + ROUNDING) }
    }

    unsafe fn find(&self) {
        let mut found = false;
        // SAFETY: the caller's; the memory is as large as was asked for.
        unsafe {
            let first = pg_sys::ShmemInitStruct(self.name.as_ptr(), self.size(), &mut found);
            if !found {
                std::ptr::write_bytes(first.cast::<u8>(), 0, self.size());
                if let Some(make) = self.make {
                    make(first.cast());
                }
            }
            self.first.store(first.cast(), Ordering::Relaxed);
        }
        self.length.store((self.count)(), Ordering::Relaxed);
    }
}

/// A lightweight lock of ours.
pub struct SharedLock {
    name: &'static CStr,
    lock: AtomicPtr<pg_sys::LWLock>,
}

impl SharedLock {
    /// Under this name in `pg_stat_activity`.
    pub const fn new(name: &'static CStr) -> SharedLock {
        SharedLock { name, lock: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// For PostgreSQL's functions; null before the server has started up.
    pub fn as_ptr(&self) -> *mut pg_sys::LWLock {
        self.lock.load(Ordering::Relaxed)
    }
}

impl Area for SharedLock {
    unsafe fn request(&self) {
        // SAFETY: the caller's.
        unsafe { pg_sys::RequestNamedLWLockTranche(self.name.as_ptr(), 1) }
    }

    unsafe fn find(&self) {
        // SAFETY: the caller's; a tranche of one lock was asked for.
        let lock = unsafe { &raw mut (*pg_sys::GetNamedLWLockTranche(self.name.as_ptr())).lock };
        self.lock.store(lock, Ordering::Relaxed);
    }
}

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
    PLACES.all()
}

/// This node's counters; `None` before the server has started up.
pub fn counters() -> Option<&'static Counters> {
    COUNTERS.get()
}

/// How this node stands to the schema; `None` before the server has started up.
pub fn standing() -> Option<&'static Standing> {
    STANDING.get()
}

/// How far this node has applied row logs; `None` before the server has started
/// up.
pub fn row_logs() -> Option<&'static Memory> {
    ROW_LOGS.get()
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
fn backends() -> usize {
    // SAFETY: reads a variable that does not change any more.
    usize::try_from(unsafe { pg_sys::MaxBackends }).unwrap_or(0)
}

/// A plain-old frame.
unsafe extern "C-unwind" fn request() {
    // SAFETY: called by the postmaster when it sums up.
    unsafe {
        if let Some(previous) = PREVIOUS_REQUEST {
            previous();
        }
        AREAS.iter().for_each(|area| area.request());
    }
}

/// A plain-old frame.
unsafe extern "C-unwind" fn startup() {
    // SAFETY: the postmaster makes the segment before any backend exists, so no
    // lock is needed.
    unsafe {
        if let Some(previous) = PREVIOUS_STARTUP {
            previous();
        }
        AREAS.iter().for_each(|area| area.find());
    }
}
