//! What the Raft thread tells the worker's main thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cluster::metadata::Metadata;
use cluster::{Identity, LogIndex};
use crossbeam_channel::Sender;

/// How loud a [`Event::Log`] is, in PostgreSQL's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `LOG`: what an operator would want in the morning.
    Log,
    /// `WARNING`: the thread went on in spite of it.
    Warning,
}

/// Sent on [`crate::Config::events`], each followed by a call of
/// [`crate::Config::wake`].
#[derive(Clone, Debug)]
pub enum Event {
    /// The metadata after applying everything up to `index`. Indexes grow from
    /// event to event; a fast log skips some of them, and not every step of
    /// the index changes the metadata. Sent at start too, if there is state.
    Applied {
        /// Position in the log.
        index: LogIndex,
        /// Everything that the log has decided up to there.
        metadata: Arc<Metadata>,
    },
    /// This node is a member: sent at start if it is one, and after `Found` and
    /// `Adopt`, before the first `Applied`.
    Adopted(Identity),
    /// This node is no member any more, after `Forget` and `Leave`. What was
    /// applied before is void.
    Left,
    /// A line for the server's log.
    Log {
        /// How loud.
        level: Level,
        /// Without a full stop, lower case start.
        message: String,
    },
    /// Raft does not run on this data directory and a restart would not help:
    /// the worker stays, so that `Status` can say why.
    Stopped(String),
    /// Raft or its store died: the worker must exit and be started again.
    Failed(String),
}

/// The sending side of the events.
pub(crate) struct Announcer {
    events: Sender<Event>,
    wake: Box<dyn Fn() + Send + Sync>,
    last_refusal: Mutex<Option<(String, Instant)>>,
}

/// The same refusal is logged once in this time: a peer with a wrong address
/// tries several times a second.
const REFUSAL_REPEATED_AFTER: Duration = Duration::from_secs(60);

impl Announcer {
    pub(crate) fn new(events: Sender<Event>, wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Announcer { events, wake, last_refusal: Mutex::new(None) }
    }

    /// Never fails: a worker that dropped its receiver is on its way out.
    pub(crate) fn send(&self, event: Event) {
        if self.events.send(event).is_ok() {
            (self.wake)();
        }
    }

    pub(crate) fn log(&self, level: Level, message: String) {
        self.send(Event::Log { level, message });
    }

    /// Logs that a frame was refused, unless the same was just said.
    pub(crate) fn log_refusal(&self, message: String) {
        let now = Instant::now();
        {
            let mut last = self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner);
            let repeated = last.as_ref().is_some_and(|(said, at)| {
                *said == message && now.duration_since(*at) < REFUSAL_REPEATED_AFTER
            });
            if repeated {
                return;
            }
            *last = Some((message.clone(), now));
        }
        self.log(Level::Warning, message);
    }
}
