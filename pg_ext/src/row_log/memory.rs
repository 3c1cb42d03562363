//! How far this node has applied each log, in shared memory.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster::row_log::{MAX_ROW_LOGS, RowLogId, RowLogPosition};
use pgrx::prelude::*;

use crate::shared_memory::row_logs;

/// Between two looks at the clock of whoever waits, in milliseconds.
const LOOK_MS: i64 = 1000;

/// All zeroes but for the bell.
pub struct Memory {
    slots: [Slot; MAX_ROW_LOGS],
    /// Rung when a position has moved.
    moved: UnsafeCell<pg_sys::ConditionVariable>,
}

/// One log.
pub struct Slot {
    /// Its id; 0 if the slot is free.
    log: AtomicU32,
    position: AtomicU64,
    /// The process that applies it here.
    pub worker: AtomicI32,
    /// Since when it has been at the entry that it is applying, in milliseconds
    /// of [`now`]; 0 if it is at none.
    pub busy_since: AtomicU64,
}

// SAFETY: the bell is used through PostgreSQL's functions only, which lock it; all
// else is atomic.
unsafe impl Sync for Memory {}

impl Memory {
    /// Makes the bell.
    ///
    /// # Safety
    /// Zeroed shared memory, of which no other process knows.
    pub unsafe fn begin(memory: *mut Memory) {
        // SAFETY: the caller's.
        unsafe { pg_sys::ConditionVariableInit((*memory).moved.get()) }
    }
}

/// Milliseconds of a clock that all processes of this server read alike.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a plain libc call on a local variable.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// The slot of a log, taken if it had none. None before the server has started
/// up; there are as many as logs can be, and those of removed ones are given
/// back by [`keep`].
pub fn slot(log: RowLogId) -> Option<&'static Slot> {
    let memory = row_logs()?;
    let find = || memory.slots.iter().find(|slot| slot.log.load(Ordering::Acquire) == log.0);
    loop {
        if let Some(found) = find() {
            return Some(found);
        }
        let free = memory.slots.iter().find(|slot| slot.log.load(Ordering::Acquire) == 0)?;
        // Who loses looks again.
        let (took, seen) = (Ordering::AcqRel, Ordering::Acquire);
        if free.log.compare_exchange(0, log.0, took, seen).is_ok() {
            return Some(free);
        }
    }
}

/// Gives back the slots of logs that are gone.
pub fn keep(logs: &[RowLogId]) {
    let Some(memory) = row_logs() else { return };
    for slot in &memory.slots {
        let log = RowLogId(slot.log.load(Ordering::Acquire));
        if log.0 != 0 && !logs.contains(&log) {
            slot.position.store(0, Ordering::Relaxed);
            slot.busy_since.store(0, Ordering::Relaxed);
            slot.log.store(0, Ordering::Release);
        }
    }
}

/// What is applied here, for all to see.
pub fn position(log: RowLogId) -> RowLogPosition {
    RowLogPosition(slot(log).map_or(0, |slot| slot.position.load(Ordering::Acquire)))
}

/// Everything up to here is committed. Raises nothing.
pub fn advance(log: RowLogId, to: RowLogPosition) {
    let (Some(slot), Some(memory)) = (slot(log), row_logs()) else { return };
    slot.position.fetch_max(to.0, Ordering::AcqRel);
    // SAFETY: made at start-up; it takes a spinlock and sets latches.
    unsafe { pg_sys::ConditionVariableBroadcast(memory.moved.get()) }
}

/// Waits until this node has applied a log up to `wanted`, and says whether it
/// has. Answers to cancel unless interrupts are held.
pub fn wait_for(log: RowLogId, wanted: RowLogPosition, patience: Duration) -> bool {
    if position(log) >= wanted {
        return true;
    }
    let Some(memory) = row_logs() else { return false };
    let deadline = Instant::now() + patience;
    let bell = memory.moved.get();
    // SAFETY: as above; an error on the way, or the end of the transaction, takes
    // this process off the list.
    unsafe {
        pg_sys::ConditionVariablePrepareToSleep(bell);
        while position(log) < wanted && Instant::now() < deadline {
            pg_sys::ConditionVariableTimedSleep(bell, LOOK_MS, pg_sys::PG_WAIT_EXTENSION);
        }
        pg_sys::ConditionVariableCancelSleep();
    }
    position(log) >= wanted
}
