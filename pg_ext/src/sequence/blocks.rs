//! What is left of this node's blocks, in shared memory.
//!
//! The counter itself is PostgreSQL's sequence. One lock keeps drawing (shared)
//! apart from taking up a new block (exclusive): a value that is drawn under it
//! is of the block that was looked at.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use cluster::SequenceId;
use pgrx::prelude::*;

use crate::report::Report;

static mut PREVIOUS_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut PREVIOUS_STARTUP: pg_sys::shmem_startup_hook_type = None;

static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(std::ptr::null_mut());
static LOCK: AtomicPtr<pg_sys::LWLock> = AtomicPtr::new(std::ptr::null_mut());

/// Sequences whose block is known at a time; further ones push others out, who
/// then take a new block.
const COUNT: usize = 4096;
/// Places where a sequence may be, from the one that its OID points at.
const REACH: usize = 8;

/// One sequence's block.
struct Slot {
    /// The sequence's OID; 0 if the slot is free.
    rel: AtomicU32,
    /// The life of the sequence that the block is of.
    id: AtomicU64,
    /// Values that are left; below 0 after several have tried in vain.
    left: AtomicI64,
}

/// Asks for the memory. Called while the library is preloaded.
pub fn init() {
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
        pg_sys::RequestAddinShmemSpace(COUNT * size_of::<Slot>());
        pg_sys::RequestNamedLWLockTranche(c"shardman sequences".as_ptr(), 1);
    }
}

/// A plain-old frame. Runs again, on fresh memory, after a crash.
unsafe extern "C-unwind" fn startup() {
    // SAFETY: called by the postmaster once shared memory is there; all zeroes is
    // a free slot.
    unsafe {
        if let Some(previous) = PREVIOUS_STARTUP {
            previous();
        }
        let mut found = false;
        let size = COUNT * size_of::<Slot>();
        let slots = pg_sys::ShmemInitStruct(c"shardman sequences".as_ptr(), size, &raw mut found);
        if !found {
            std::ptr::write_bytes(slots.cast::<u8>(), 0, size);
        }
        SLOTS.store(slots.cast(), Ordering::Relaxed);
        let lock = pg_sys::GetNamedLWLockTranche(c"shardman sequences".as_ptr());
        LOCK.store(&raw mut (*lock).lock, Ordering::Relaxed);
    }
}

/// The lock while it is held. An error releases it with all others of its kind.
struct Held(*mut pg_sys::LWLock);

impl Held {
    fn take(mode: pg_sys::LWLockMode::Type) -> Self {
        let lock = LOCK.load(Ordering::Relaxed);
        // SAFETY: a backend that runs statements has found it in `startup`.
        unsafe { pg_sys::LWLockAcquire(lock, mode) };
        Held(lock)
    }

    /// Not in Drop: an error on the way has released it already.
    fn release(self) {
        // SAFETY: taken in `take`, and no error has come between.
        unsafe { pg_sys::LWLockRelease(self.0) }
    }
}

fn slots() -> &'static [Slot] {
    // SAFETY: `startup` put COUNT slots there, in memory that outlives the
    // process; all fields are atomics.
    unsafe { std::slice::from_raw_parts(SLOTS.load(Ordering::Relaxed), COUNT) }
}

fn reachable(rel: pg_sys::Oid) -> impl Iterator<Item = &'static Slot> {
    let home = rel.to_u32().wrapping_mul(0x9E37_79B1) as usize;
    (0..REACH).map(move |step| &slots()[home.wrapping_add(step) % COUNT])
}

/// Draws by `next` if this node's block has a value left. `next` runs under a
/// lightweight lock: it must not wait for heavy locks.
pub fn draw(
    rel: pg_sys::Oid,
    id: SequenceId,
    next: impl FnOnce() -> Result<i64, Report>,
) -> Result<Option<i64>, Report> {
    let held = Held::take(pg_sys::LWLockMode::LW_SHARED);
    let slot = reachable(rel).find(|slot| is_of(slot, rel, id));
    let has_value = slot.is_some_and(|slot| {
        slot.left.load(Ordering::Relaxed) > 0 && slot.left.fetch_sub(1, Ordering::Relaxed) > 0
    });
    let value = if has_value { next().map(Some) } else { Ok(None) };
    held.release();
    value
}

fn is_of(slot: &Slot, rel: pg_sys::Oid, id: SequenceId) -> bool {
    slot.rel.load(Ordering::Relaxed) == rel.to_u32() && slot.id.load(Ordering::Relaxed) == id.0
}

/// Takes up a block of `count` values; `begin` puts PostgreSQL's sequence where
/// the block begins, under the lock and with the same duty.
pub fn take_up(
    rel: pg_sys::Oid,
    id: SequenceId,
    count: u32,
    begin: impl FnOnce() -> Result<(), Report>,
) -> Result<(), Report> {
    let held = Held::take(pg_sys::LWLockMode::LW_EXCLUSIVE);
    let own = reachable(rel).find(|slot| slot.rel.load(Ordering::Relaxed) == rel.to_u32());
    let free = || reachable(rel).find(|slot| slot.rel.load(Ordering::Relaxed) == 0);
    if let Some(slot) = own.or_else(free).or_else(|| reachable(rel).next()) {
        // Without values until the sequence stands where they begin.
        slot.left.store(0, Ordering::Relaxed);
        slot.rel.store(rel.to_u32(), Ordering::Relaxed);
        slot.id.store(id.0, Ordering::Relaxed);
        let begun = begin();
        if begun.is_ok() {
            slot.left.store(i64::from(count), Ordering::Relaxed);
        }
        held.release();
        return begun;
    }
    held.release();
    Ok(())
}

/// Gives up what is left of a block.
pub fn give_up(id: SequenceId) {
    let held = Held::take(pg_sys::LWLockMode::LW_EXCLUSIVE);
    for slot in slots().iter().filter(|slot| slot.id.load(Ordering::Relaxed) == id.0) {
        slot.left.store(0, Ordering::Relaxed);
    }
    held.release();
}

/// Whether this node's block has a value left at the moment.
pub fn has_values(rel: pg_sys::Oid, id: SequenceId) -> bool {
    let held = Held::take(pg_sys::LWLockMode::LW_SHARED);
    let slot = reachable(rel).find(|slot| is_of(slot, rel, id));
    let has_values = slot.is_some_and(|slot| slot.left.load(Ordering::Relaxed) > 0);
    held.release();
    has_values
}
