//! What each backend tells the others of its transaction.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

use cluster::NodeId;
use cluster::deadlock::{Coordinator, residue};
use pgrx::pg_sys;

use super::victim::{self, EPOCH};
use crate::compat;
use crate::shared_memory::my_place;

/// A longer DETAIL is cut.
pub const LONGEST_DETAIL: usize = 2000;

/// A backend's place in shared memory. All zeroes: nothing to tell. What an
/// earlier process left in it is told by its process id.
pub struct Place {
    /// The process whose coordinator stands here; written last.
    owner: AtomicI32,
    /// The backend that opened this session: node, process id, start.
    coordinator: (AtomicU32, AtomicI32, AtomicI64),
    /// The local transaction that turned to other nodes.
    transaction: AtomicU32,
    /// Those nodes, a bit for each [`residue`].
    nodes: [AtomicU64; 4],
    /// See `victim`.
    pub(super) verdict: Verdict,
    /// What the backend has asked the metadata log for: see `schema_change`.
    pub ddl_request: AtomicU64,
    /// Whether it has appended changes to a log: see `row_log`.
    pub asked_log: AtomicU32,
}

/// Why a backend's transaction is to fail.
pub(super) struct Verdict {
    /// One of `victim`'s states.
    pub state: AtomicU32,
    /// The local transaction that is meant.
    pub transaction: AtomicU32,
    /// The wait that is meant; 0 if it is to fail wherever it is, since a log has
    /// decided about its rows.
    pub since: AtomicI64,
    /// Length of the DETAIL.
    pub length: AtomicU32,
    /// The DETAIL.
    pub detail: [AtomicU8; LONGEST_DETAIL],
}

impl Place {
    /// For whom the session of process `pid` works, if another node opened it.
    pub fn serves(&self, pid: i32) -> Option<Coordinator> {
        if self.owner.load(Ordering::Acquire) != pid {
            return None;
        }
        let (node, pid, started) = &self.coordinator;
        Some(Coordinator {
            node: NodeId(node.load(Ordering::Relaxed)),
            pid: pid.load(Ordering::Relaxed),
            started: started.load(Ordering::Relaxed),
        })
    }

    /// The nodes, by [`residue`], that the backend's local transaction
    /// `transaction` has turned to.
    pub fn coordinates(&self, transaction: u32) -> Vec<u32> {
        if transaction == 0 || self.transaction.load(Ordering::Acquire) != transaction {
            return Vec::new();
        }
        let words = self.nodes.iter().map(|word| word.load(Ordering::Relaxed));
        words
            .zip((0..).step_by(64))
            .flat_map(|(word, first)| {
                (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| first + bit)
            })
            .collect()
    }
}

/// Notes that this backend's transaction turns to a node. Called for each
/// statement.
pub fn coordinate(node: NodeId) {
    let Some(place) = my_place() else { return };
    let transaction = compat::local_transaction_id();
    if place.transaction.load(Ordering::Relaxed) != transaction {
        place.nodes.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        place.transaction.store(transaction, Ordering::Release);
    }
    let residue = residue(node);
    place.nodes[residue as usize / 64].fetch_or(1 << (residue % 64), Ordering::Relaxed);
    victim::listen();
}

/// Notes for whom this session works.
pub fn serve(coordinator: Coordinator) {
    let Some(place) = my_place() else { return };
    place.owner.store(0, Ordering::Release);
    let (node, pid, started) = &place.coordinator;
    node.store(coordinator.node.0, Ordering::Relaxed);
    pid.store(coordinator.pid, Ordering::Relaxed);
    started.store(coordinator.started, Ordering::Relaxed);
    place.owner.store(my_pid(), Ordering::Release);
}

/// This process's id.
pub fn my_pid() -> i32 {
    // SAFETY: reads a variable that does not change.
    unsafe { pg_sys::MyProcPid }
}

/// When this process was started, in microseconds of the Unix epoch.
pub fn my_start() -> i64 {
    // SAFETY: reads a variable that does not change.
    unsafe { pg_sys::MyStartTimestamp + EPOCH }
}

/// A DETAIL as a C string, cut to what fits.
pub(super) fn cut(detail: &str) -> CString {
    let mut end = detail.len().min(LONGEST_DETAIL);
    while !detail.is_char_boundary(end) {
        end -= 1;
    }
    CString::new(detail[..end].replace('\0', "")).unwrap_or_default()
}
