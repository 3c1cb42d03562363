//! When this process stood still.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many are remembered; earlier ones count for nobody any more.
const REMEMBERED: usize = 256;

/// What was late in this process, because it was stopped or its machine had no
/// time for it. It has heard nothing meanwhile, and that is nobody else's fault.
#[derive(Default)]
pub(super) struct Pauses(VecDeque<(Instant, Duration)>);

impl Pauses {
    /// It stood still for `length` until now.
    pub(super) fn note(&mut self, now: Instant, length: Duration) {
        if length.is_zero() {
            return;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((now, length));
    }

    /// For how long this process has listened since `since`.
    pub(super) fn silence(&self, since: Instant, now: Instant) -> Duration {
        let later = self.0.iter().filter(|(end, _)| *end > since);
        let deaf: Duration =
            later.map(|(end, length)| (*length).min(end.duration_since(since))).sum();
        now.duration_since(since).saturating_sub(deaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_pause_makes_nobody_silent() {
        let start = Instant::now();
        let mut pauses = Pauses::default();
        pauses.note(start + 30 * SECOND, 25 * SECOND);
        assert_eq!(pauses.silence(start, start + 31 * SECOND), 6 * SECOND);
        assert_eq!(pauses.silence(start + 30 * SECOND, start + 31 * SECOND), SECOND);
        // Only what of the pause came after the last word.
        assert_eq!(pauses.silence(start + 20 * SECOND, start + 31 * SECOND), SECOND);
    }

    #[test]
    fn many_short_pauses_do_not_hide_who_is_silent() {
        let start = Instant::now();
        let mut pauses = Pauses::default();
        // Every look is half as late again as it should be.
        for look in 1..=100 {
            pauses.note(start + look * SECOND, SECOND / 2);
        }
        assert_eq!(pauses.silence(start, start + 100 * SECOND), 50 * SECOND);
    }
}
