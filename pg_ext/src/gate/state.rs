//! The shared state. Commits touch two of its words unless it is closed.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

use cluster::txn::Turnstile;
use pgrx::prelude::*;

use super::looks::Looks;

/// So many snapshots may be in the making at once; more wait.
const CLOSERS: usize = 64;

/// Set in the postmaster and inherited, so that all processes count from it.
static BASE: OnceLock<Instant> = OnceLock::new();

/// Called in the postmaster.
pub fn set_time_base() {
    BASE.get_or_init(Instant::now);
}

/// Milliseconds since the postmaster started; never 0.
pub fn now() -> u64 {
    BASE.get().map_or(1, |base| base.elapsed().as_millis() as u64 + 1)
}

/// One node's gate.
#[repr(C)]
pub struct Gate {
    /// Transactions inside: from before their commit record until the second
    /// phase is over.
    inside: AtomicU32,
    /// Transactions that wait for it to open.
    waiting: AtomicU32,
    /// Non-zero entries of `leases`.
    closers: AtomicU32,
    /// When it was closed last.
    closed_at: AtomicU64,
    /// Until when each closer keeps it closed; 0 for a free entry.
    leases: [AtomicU64; CLOSERS],
    /// Numbers the last second phase that was left unfinished. The first is the
    /// server's start: what it was doing when it stopped is not known.
    pub incident: AtomicU64,
    /// The last incident of which nothing is left.
    pub settled: AtomicU64,
    /// The looks for participants in doubt.
    pub looks: Looks,
    /// Broadcast when it opens, becomes empty while closed, or is settled.
    pub moved: UnsafeCell<pg_sys::ConditionVariable>,
}

// SAFETY: the condition variable is used through PostgreSQL's functions only,
// which lock it.
unsafe impl Sync for Gate {}

/// Which entry a closer holds, and what it wrote there.
#[derive(Clone, Copy)]
pub struct Hold {
    entry: usize,
    until: u64,
}

impl Gate {
    /// Open and empty.
    pub fn new() -> Gate {
        Gate {
            inside: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            closers: AtomicU32::new(0),
            closed_at: AtomicU64::new(0),
            leases: [const { AtomicU64::new(0) }; CLOSERS],
            incident: AtomicU64::new(1),
            settled: AtomicU64::new(0),
            looks: Looks::new(),
            moved: UnsafeCell::new(pg_sys::ConditionVariable::default()),
        }
    }

    /// Goes in, unless it is closed. Each side announces itself before it looks
    /// at the other (sequentially consistent), so that one of them sees it.
    pub fn enter(&self) -> bool {
        self.inside.fetch_add(1, SeqCst);
        if self.is_closed() {
            self.leave();
            return false;
        }
        true
    }

    /// Goes out. Raises nothing.
    pub fn leave(&self) {
        let before = self.inside.fetch_sub(1, SeqCst);
        if before == 1 && self.closers.load(SeqCst) != 0 {
            self.broadcast();
        }
    }

    /// Whether anyone keeps it closed; frees what has run out.
    pub fn is_closed(&self) -> bool {
        self.closers.load(SeqCst) != 0 && self.closed_until().is_some()
    }

    /// Until when it is closed at most.
    pub fn closed_until(&self) -> Option<u64> {
        let now = now();
        let mut latest = None;
        for (entry, lease) in self.leases.iter().enumerate() {
            match lease.load(SeqCst) {
                0 => {}
                until if until <= now => self.open(Hold { entry, until }),
                until => latest = latest.max(Some(until)),
            }
        }
        latest
    }

    /// Closes it for a time; `None` if too many do.
    pub fn close(&self, lease: Duration) -> Option<Hold> {
        let until = now() + lease.as_millis() as u64;
        let free = |lease: &AtomicU64| lease.compare_exchange(0, until, SeqCst, SeqCst).is_ok();
        let entry = self.leases.iter().position(free)?;
        if self.closers.fetch_add(1, SeqCst) == 0 {
            self.closed_at.store(now(), SeqCst);
        }
        Some(Hold { entry, until })
    }

    /// Ends a closing, if that has not been done. Raises nothing.
    pub fn open(&self, hold: Hold) {
        let lease = &self.leases[hold.entry];
        if lease.compare_exchange(hold.until, 0, SeqCst, SeqCst).is_ok()
            && self.closers.fetch_sub(1, SeqCst) == 1
        {
            self.broadcast();
        }
    }

    /// What the turnstile rule looks at.
    pub fn turnstile(&self) -> Turnstile {
        let is_closed = self.is_closed();
        let age = now().saturating_sub(self.closed_at.load(SeqCst));
        Turnstile {
            closers: if is_closed { self.closers.load(SeqCst) } else { 0 },
            closed_for: Duration::from_millis(age),
            waiting: self.waiting.load(SeqCst),
        }
    }

    /// How many are inside.
    pub fn inside(&self) -> u32 {
        self.inside.load(SeqCst)
    }

    /// Whether no decision of this node is half carried out.
    pub fn is_settled(&self) -> bool {
        self.settled.load(SeqCst) >= self.incident.load(SeqCst)
    }

    /// Counts as waiting, until [`leave_line`](Self::leave_line).
    pub fn join_line(&self) {
        self.waiting.fetch_add(1, SeqCst);
    }

    /// Waits no more. Raises nothing.
    pub fn leave_line(&self) {
        if self.waiting.fetch_sub(1, SeqCst) == 1 {
            self.broadcast();
        }
    }

    /// Wakes whoever waits. Raises nothing.
    pub fn broadcast(&self) {
        // SAFETY: an initialised condition variable in shared memory; the call
        // takes a spinlock and sets latches.
        unsafe { pg_sys::ConditionVariableBroadcast(self.moved.get()) }
    }

    /// Waits until `is_done` or the deadline; true if it is done. Answers to
    /// interrupts where they are not held off. Looks again at least every
    /// `period`, for what nobody announces.
    pub fn wait_until(
        &self,
        deadline: Instant,
        period: Duration,
        mut is_done: impl FnMut() -> bool,
    ) -> bool {
        let done = loop {
            if is_done() {
                break true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break false;
            }
            let millis = left.min(period).as_millis() as std::ffi::c_long + 1;
            // SAFETY: guarded; an error unwinds, and the transaction's abort
            // cancels the sleep.
            unsafe {
                pg_sys::ConditionVariableTimedSleep(
                    self.moved.get(),
                    millis,
                    pg_sys::PG_WAIT_EXTENSION,
                )
            };
        };
        // SAFETY: ends what the calls above began; raises nothing.
        unsafe { pg_sys::ConditionVariableCancelSleep() };
        done
    }
}
