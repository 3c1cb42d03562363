//! The commit gate: how a snapshot of the whole cluster is taken.
//!
//! Each node has a gate. A transaction that wrote passes its *own* node's gate
//! just before its commit record, and has left it when all its participants
//! acknowledged COMMIT PREPARED. Who wants a snapshot of the cluster closes the
//! gates of all nodes, waits until nobody is inside any of them, takes a snapshot
//! on each node and opens them again. While all are closed and empty no decision
//! falls anywhere and none is half carried out, so the snapshots are of one
//! instant. Nobody who is inside a gate waits for another one: there is no
//! deadlock between commits and snapshots. Two snapshots do not hinder each
//! other, and to keep their stream from shutting commits out, all pass the
//! *turnstile* first: the gate of the node with the lowest id, which may only be
//! joined shortly after it was closed.
//!
//! A closed gate opens by itself after its lease, so that who closed it and then
//! stood still stops nobody. The lease is counted by the taker from before it
//! asked, by the gate from after it heard: what the taker believes to be closed
//! is closed.

use std::fmt;
use std::time::Duration;

/// What is asked of another node's gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateRequest {
    /// Close it and wait until nobody is inside.
    Close(Closing),
    /// Open it again.
    Open,
}

/// How a gate is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Whether it is the turnstile.
    pub is_turnstile: bool,
    /// How long to wait until nobody is inside.
    pub drain: Duration,
    /// After this it opens by itself.
    pub lease: Duration,
}

impl GateRequest {
    /// Reads a printed request; `None` for anything else.
    pub fn parse(text: &str) -> Option<GateRequest> {
        let mut words = text.split(' ');
        let is_turnstile = match words.next()? {
            "open" => return words.next().is_none().then_some(GateRequest::Open),
            "close" => false,
            "turnstile" => true,
            _ => return None,
        };
        let mut millis = || Some(Duration::from_millis(words.next()?.parse().ok()?));
        let closing = Closing { is_turnstile, drain: millis()?, lease: millis()? };
        words.next().is_none().then_some(GateRequest::Close(closing))
    }
}

impl fmt::Display for GateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GateRequest::Open => f.write_str("open"),
            GateRequest::Close(c) => {
                let verb = if c.is_turnstile { "turnstile" } else { "close" };
                write!(f, "{verb} {} {}", c.drain.as_millis(), c.lease.as_millis())
            }
        }
    }
}

/// What a gate's state says about a further closing.
#[derive(Clone, Copy, Debug)]
pub struct Turnstile {
    /// How many keep it closed.
    pub closers: u32,
    /// How long it has been closed, if it is.
    pub closed_for: Duration,
    /// Commits that wait for it to open.
    pub waiting: u32,
}

/// Snapshots that begin within this time of the first one share its closure.
const JOIN_WINDOW: Duration = Duration::from_millis(2);

impl Turnstile {
    /// Whether one more may close it: who comes late waits until it was open
    /// once and those who had waited went through.
    pub fn lets_in(self) -> bool {
        match self.closers {
            0 => self.waiting == 0,
            _ => self.closed_for < JOIN_WINDOW,
        }
    }
}

/// The attempts at one snapshot.
#[derive(Debug, Default)]
pub struct SnapshotAttempts {
    made: usize,
}

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// To be waited first, with all gates open.
    pub pause: Duration,
    /// How long each gate may take to become empty.
    pub drain: Duration,
    /// How long gates stay closed at most.
    pub lease: Duration,
}

/// A commit rarely takes longer than the first; the last is for recovery, which
/// looks every two seconds.
const DRAINS: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(1000),
    Duration::from_millis(2000),
    Duration::from_millis(2000),
];

impl SnapshotAttempts {
    /// The next attempt, or `None` when it is time to give up.
    pub fn next_attempt(&mut self) -> Option<Attempt> {
        let drain = *DRAINS.get(self.made)?;
        // Pauses let the commits through that the last attempt held up.
        let pause = if self.made == 0 { Duration::ZERO } else { drain / 5 };
        self.made += 1;
        // The turnstile and the rest are waited for one after the other.
        Some(Attempt { pause, drain, lease: drain * 2 + Duration::from_secs(1) })
    }
}

/// Whether gates that were asked to close `elapsed` ago are closed for certain.
pub fn is_still_closed(elapsed: Duration, lease: Duration) -> bool {
    elapsed < lease
}

/// What a recovery pass found of its own node's transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// Not all nodes were looked at, or not all that was found is finished.
    Some,
    /// Nothing is prepared but what was prepared since the previous pass began.
    OnlyYoung,
    /// Nothing is prepared.
    None,
}

/// Up to which incident (a second phase that was left unfinished; they are
/// numbered) everything is finished. `at_previous_pass` and `at_this_pass` are
/// the last incidents when those passes began.
pub fn settled_up_to(found: Leftovers, at_previous_pass: u64, at_this_pass: u64) -> Option<u64> {
    match found {
        Leftovers::Some => None,
        // What is young now was not prepared at an incident before the last pass.
        Leftovers::OnlyYoung => Some(at_previous_pass),
        Leftovers::None => Some(at_this_pass),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_else_is_a_request() {
        for other in
            ["", "open ", "open 1", "close", "close 1", "close 1 2 3", "close -1 2", "shut"]
        {
            assert_eq!(GateRequest::parse(other), None, "{other}");
        }
        assert_eq!(GateRequest::parse("open"), Some(GateRequest::Open));
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(is_turnstile: bool, drain: u32, lease: u32) {
            let millis = |n: u32| Duration::from_millis(n.into());
            let closing = Closing { is_turnstile, drain: millis(drain), lease: millis(lease) };
            let request = GateRequest::Close(closing);
            prop_assert_eq!(GateRequest::parse(&request.to_string()), Some(request));
        }
    }

    #[test]
    fn who_comes_late_to_the_turnstile_waits_for_those_who_want_to_commit() {
        let at = |closers, millis, waiting| {
            Turnstile { closers, closed_for: Duration::from_millis(millis), waiting }.lets_in()
        };
        assert!(at(0, 0, 0), "an open gate");
        assert!(!at(0, 0, 3), "commits that were held up go first");
        assert!(at(2, 1, 3), "who comes at once shares the closure");
        assert!(!at(2, 50, 0), "a chain of snapshots has gaps");
    }

    #[test]
    fn attempts_are_bounded_and_outlast_two_recovery_passes() {
        let mut attempts = SnapshotAttempts::default();
        let mut total = Duration::ZERO;
        let mut number = 0;
        while let Some(attempt) = attempts.next_attempt() {
            assert!(attempt.lease > attempt.drain * 2, "both stages fit into the lease");
            assert_eq!(attempt.pause.is_zero(), number == 0);
            total += attempt.pause + attempt.drain;
            number += 1;
        }
        assert!(total > Duration::from_secs(4) && total < Duration::from_secs(20), "{total:?}");
    }

    #[test]
    fn a_pass_settles_only_what_it_must_have_seen() {
        assert_eq!(settled_up_to(Leftovers::Some, 3, 5), None);
        assert_eq!(settled_up_to(Leftovers::OnlyYoung, 3, 5), Some(3));
        assert_eq!(settled_up_to(Leftovers::None, 3, 5), Some(5));
    }
}
