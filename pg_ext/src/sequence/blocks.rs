//! What is left of this node's blocks, in shared memory.
//!
//! The counter itself is PostgreSQL's sequence. One lock keeps drawing (shared)
//! apart from taking up a new block (exclusive): a value that is drawn under it
//! is of the block that was looked at.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use cluster::SequenceId;
use pgrx::prelude::*;

use crate::report::Report;
use crate::shared_memory::{Shared, SharedLock};

/// The blocks of this node's sequences.
// SAFETY: atomics; all zeroes is a free slot.
pub static SLOTS: Shared<Slot> = unsafe { Shared::zeroed(c"shardman sequences", || COUNT) };
/// Keeps drawing apart from taking up a new block.
pub static LOCK: SharedLock = SharedLock::new(c"shardman sequences");

/// Sequences whose block is known at a time; further ones push others out, who
/// then take a new block.
const COUNT: usize = 4096;
/// Places where a sequence may be, from the one that its OID points at.
const REACH: usize = 8;

/// One sequence's block.
pub struct Slot {
    /// The sequence's OID; 0 if the slot is free.
    rel: AtomicU32,
    /// The life of the sequence that the block is of.
    id: AtomicU64,
    /// Values that are left; below 0 after several have tried in vain.
    left: AtomicI64,
}

/// The lock while it is held. An error releases it with all others of its kind.
struct Held(*mut pg_sys::LWLock);

impl Held {
    fn take(mode: pg_sys::LWLockMode::Type) -> Self {
        let lock = LOCK.as_ptr();
        // SAFETY: there, in a backend that runs statements.
        unsafe { pg_sys::LWLockAcquire(lock, mode) };
        Held(lock)
    }

    /// Not in Drop: an error on the way has released it already.
    fn release(self) {
        // SAFETY: taken in `take`, and no error has come between.
        unsafe { pg_sys::LWLockRelease(self.0) }
    }
}

fn reachable(rel: pg_sys::Oid) -> impl Iterator<Item = &'static Slot> {
    let home = rel.to_u32().wrapping_mul(0x9E37_79B1) as usize;
    let slots = SLOTS.all();
    (0..REACH).filter_map(move |step| slots.get(home.wrapping_add(step) % COUNT))
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
    for slot in SLOTS.all().iter().filter(|slot| slot.id.load(Ordering::Relaxed) == id.0) {
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
