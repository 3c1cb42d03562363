//! Telling the extension's own statements from a user's.

use std::cell::Cell;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// While alive, statements that reach our hooks are the extension's own and
/// pass unchecked. Held only in guarded code, so that an error drops it.
pub struct OwnWork(());

impl OwnWork {
    /// Begins a stretch of own work; stretches nest.
    pub fn begin() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        OwnWork(())
    }

    /// Whether one is going on.
    pub fn is_going_on() -> bool {
        DEPTH.get() > 0
    }
}

impl Drop for OwnWork {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}
