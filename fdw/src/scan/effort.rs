//! What a scan has asked of the other side, for EXPLAIN (ANALYZE, VERBOSE).

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Counters of one scan node, over all its passes.
#[derive(Default)]
pub struct Effort {
    requests: Cell<u64>,
    rows: Cell<u64>,
    waited: Cell<Duration>,
    waits_since: Cell<Option<Instant>>,
}

impl Effort {
    /// The executor has nothing to do for this scan until its chunk comes. Until
    /// [`Effort::received`], calls after the first change nothing.
    pub fn begin_to_wait(&self) {
        if self.waits_since.get().is_none() {
            self.waits_since.set(Some(Instant::now()));
        }
    }

    /// A chunk of so many rows is here.
    pub fn received(&self, rows: usize) {
        self.requests.set(self.requests.get() + 1);
        self.rows.set(self.rows.get() + rows as u64);
        if let Some(since) = self.waits_since.take() {
            self.waited.set(self.waited.get() + since.elapsed());
        }
    }

    /// Chunks that were received.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Rows in them.
    pub fn rows(&self) -> u64 {
        self.rows.get()
    }

    /// Time during which the scan waited for them.
    pub fn waited(&self) -> Duration {
        self.waited.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_waiting_takes_time() {
        let effort = Effort::default();
        effort.received(3);
        assert_eq!((effort.requests(), effort.rows(), effort.waited()), (1, 3, Duration::ZERO));
        effort.begin_to_wait();
        effort.received(4);
        assert_eq!((effort.requests(), effort.rows()), (2, 7));
        assert!(effort.waited() > Duration::ZERO);
    }
}
