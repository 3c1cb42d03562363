//! Where a message is to be stopped, and what the test then does with it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;

/// On which side of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The request has been sent; the server does not get it yet.
    Request,
    /// The server has answered; the client does not get the answer yet.
    Reply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Set,
    /// A message is held.
    Held,
    Released,
    Cut,
}

/// One message to hold: the first that runs a text with `part` in it. Dropped,
/// it lets the message go.
pub struct Stop {
    shared: Arc<Held>,
}

/// The proxy's end of a [`Stop`].
pub struct Held {
    part: String,
    is_whole: bool,
    moment: Moment,
    state: Mutex<State>,
    changed: Condvar,
}

impl Stop {
    pub(super) fn new(part: &str, is_whole: bool, moment: Moment) -> (Self, Arc<Held>) {
        let shared = Arc::new(Held {
            part: part.to_owned(),
            is_whole,
            moment,
            state: Mutex::new(State::Set),
            changed: Condvar::new(),
        });
        (Self { shared: Arc::clone(&shared) }, shared)
    }

    /// Waits until the message is held.
    pub fn wait(&self, bound: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + bound;
        let mut state = self.shared.lock();
        while *state == State::Set {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("no message with \"{}\" within {bound:?}", self.shared.part);
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Whether the message is held now.
    pub fn is_held(&self) -> bool {
        *self.shared.lock() == State::Held
    }

    /// Lets the message go on, and everything behind it, unless it was cut.
    pub fn release(&self) {
        self.shared.set(State::Released);
    }

    /// Closes the connection on both sides; the message is lost.
    pub fn cut(&self) {
        self.shared.set(State::Cut);
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        let state = *self.shared.lock();
        if matches!(state, State::Set | State::Held) {
            self.release();
        }
    }
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        let mut now = self.lock();
        // Whoever holds the message may not have seen yet that it is to be cut.
        if *now != State::Cut {
            *now = state;
        }
        self.changed.notify_all();
    }

    /// Whether it waits for a request with this text.
    pub fn waits_for(&self, sql: &str) -> bool {
        let is_meant = if self.is_whole { sql == self.part } else { sql.contains(&self.part) };
        is_meant && *self.lock() == State::Set
    }

    /// At the request or at its reply.
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// Holds the message until the test decides; false if the connection is to
    /// be cut.
    pub fn hold(&self) -> bool {
        let mut state = self.lock();
        if *state == State::Set {
            *state = State::Held;
            self.changed.notify_all();
        }
        while *state == State::Held {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        *state != State::Cut
    }
}
