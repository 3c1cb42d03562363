//! Waiting for a socket in PostgreSQL's manner: latch, postmaster death and
//! the socket in one set that lives as long as the connection.
#![allow(unsafe_code)]

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::backend::interrupts_would_be_processed;
use crate::compat;

/// Whether a wait ends when the user cancels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupts {
    /// It returns [`Stop::Interrupted`]; the caller checks for interrupts and
    /// may come back.
    Heed,
    /// It goes on to its deadline: in COMMIT and ABORT.
    Ignore,
}

/// Why a wait ended without what was waited for.
#[derive(Clone, Debug)]
pub enum Stop {
    /// An interrupt is pending.
    Interrupted,
    /// The deadline has passed.
    TimedOut,
    /// The connection is gone, and why.
    Lost(String),
}

/// The persistent wait event set of one socket.
pub struct WaitSet {
    set: *mut pg_sys::WaitEventSet,
    socket: i32,
    events: u32,
}

/// What to wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Input.
    Read,
    /// Input or room for output.
    ReadOrWrite,
    /// Only room for output: a connection being made.
    Write,
}

impl Readiness {
    /// As PostgreSQL's WL_ flags.
    pub fn mask(self) -> u32 {
        match self {
            Readiness::Read => pg_sys::WL_SOCKET_READABLE,
            Readiness::ReadOrWrite => pg_sys::WL_SOCKET_READABLE | pg_sys::WL_SOCKET_WRITEABLE,
            Readiness::Write => pg_sys::WL_SOCKET_WRITEABLE,
        }
    }
}

/// Returns when one of several sockets may be ready.
pub fn wait_for_any(
    sockets: &[(RawFd, Readiness)],
    deadline: Instant,
    interrupts: Interrupts,
) -> Result<(), Stop> {
    let Some(((first, readiness), others)) = sockets.split_first() else { return Ok(()) };
    let mut set = WaitSet::with_room(*first, *readiness, others.len());
    for (fd, readiness) in others {
        // SAFETY: guarded; the set has room, and is freed before the sockets are.
        unsafe {
            let (no_latch, nobody) = (std::ptr::null_mut(), std::ptr::null_mut());
            pg_sys::AddWaitEventToSet(set.set, readiness.mask(), *fd, no_latch, nobody);
        }
    }
    set.wait(*readiness, Some(deadline), interrupts)
}

impl WaitSet {
    /// A set around `fd`, which must stay open as long as the set lives.
    pub fn new(fd: RawFd, readiness: Readiness) -> WaitSet {
        WaitSet::with_room(fd, readiness, 0)
    }

    fn with_room(fd: RawFd, readiness: Readiness, more: usize) -> WaitSet {
        let events = readiness.mask();
        // SAFETY: guarded calls; MyLatch is this process's latch for good, and
        // the set is freed before the descriptor is closed (field order in
        // `Connection`).
        unsafe {
            let set = compat::create_wait_event_set(3 + more as i32);
            let nobody = std::ptr::null_mut();
            pg_sys::AddWaitEventToSet(set, pg_sys::WL_LATCH_SET, -1, pg_sys::MyLatch, nobody);
            pg_sys::AddWaitEventToSet(
                set,
                pg_sys::WL_EXIT_ON_PM_DEATH,
                -1,
                std::ptr::null_mut(),
                nobody,
            );
            let socket = pg_sys::AddWaitEventToSet(set, events, fd, std::ptr::null_mut(), nobody);
            WaitSet { set, socket, events }
        }
    }

    /// Returns when the socket may be ready.
    pub fn wait(
        &mut self,
        readiness: Readiness,
        deadline: Option<Instant>,
        interrupts: Interrupts,
    ) -> Result<(), Stop> {
        let events = readiness.mask();
        if events != self.events {
            // SAFETY: guarded; the position came from this set.
            unsafe {
                pg_sys::ModifyWaitEvent(self.set, self.socket, events, std::ptr::null_mut());
            }
            self.events = events;
        }
        loop {
            if interrupts == Interrupts::Heed && interrupts_would_be_processed() {
                return Err(Stop::Interrupted);
            }
            let timeout = match deadline {
                None => -1,
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Stop::TimedOut);
                    }
                    millis(left)
                }
            };
            // SAFETY: one event fits the array of one; guarded.
            let (occurred, event) = unsafe {
                let mut event: pg_sys::WaitEvent = std::mem::zeroed();
                let n = pg_sys::WaitEventSetWait(
                    self.set,
                    timeout,
                    &raw mut event,
                    1,
                    compat::WAIT_EVENT,
                );
                (n, event)
            };
            if occurred > 0 {
                if event.events & pg_sys::WL_LATCH_SET != 0 {
                    // SAFETY: our own latch.
                    unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
                } else {
                    return Ok(());
                }
            }
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2).saturating_add(1)
}

impl Drop for WaitSet {
    fn drop(&mut self) {
        // SAFETY: frees what `new` made; closes and frees only, never raises.
        unsafe { pg_sys::FreeWaitEventSet(self.set) }
    }
}
