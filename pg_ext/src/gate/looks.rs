//! The looks for participants in doubt, in shared memory.

use std::sync::atomic::{AtomicI64, AtomicU64};

/// When this node's participants in doubt were looked for, and are to be again.
#[repr(C)]
pub struct Looks {
    /// When the next is due, as [`super::now`] counts.
    pub next: AtomicU64,
    /// When the last that found none was over, as PostgreSQL's clock counts
    /// (microseconds since 2000).
    pub last: AtomicI64,
}

impl Looks {
    /// None yet: one is due.
    pub const fn new() -> Looks {
        Looks { next: AtomicU64::new(0), last: AtomicI64::new(0) }
    }
}
