//! What the thread is started with.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster::SystemIdentifier;
use cluster::txn::Life;
use crossbeam_channel::Sender;

use crate::event::Event;
use crate::network::{PeerConnector, PostgresConnector};

/// Everything the Raft thread needs to know.
pub struct Config {
    /// `<data directory>/shardman`; created with mode 0700 if absent. Its path
    /// must leave room for the socket's name: a Unix socket's path is short
    /// (about 100 bytes).
    pub dir: PathBuf,
    /// Of this data directory: an identity made for another is not run.
    pub system_identifier: SystemIdentifier,
    /// How long things may take.
    pub timing: Timing,
    /// A snapshot is taken after this many entries, and half as many are kept
    /// behind it for peers that lag.
    pub snapshot_after: u64,
    /// The server's present life.
    pub life: Life,
    /// Whether this data directory has had a life of the server. One that has
    /// not, and is known to the log, was had by another copy of it.
    pub remembers: Box<dyn Fn(Life) -> bool + Send + Sync>,
    /// Whether a transaction of this server still wants what it asked the log
    /// for under this number. Called from the Raft thread.
    pub is_wanted: Box<dyn Fn(u64) -> bool + Send + Sync>,
    /// Called with the end of a lease whenever a majority has confirmed that
    /// this node is one of them, and with none while no lease is needed. From the
    /// Raft thread.
    pub renew_lease: Box<dyn Fn(Option<Instant>) + Send + Sync>,
    /// Times that may change while the thread runs.
    pub limits: Arc<Limits>,
    /// Where [`Event`]s go. Use an unbounded channel: a full one would hold up
    /// the log.
    pub events: Sender<Event>,
    /// Called after each event, from the Raft thread: sets the worker's latch,
    /// by a means that is allowed outside of the main thread.
    pub wake: Box<dyn Fn() + Send + Sync>,
    /// How peers are reached.
    pub connector: Arc<dyn PeerConnector>,
}

impl Config {
    /// A configuration with default timing, whose peers are reached through
    /// PostgreSQL connections.
    pub fn new(
        dir: PathBuf,
        system_identifier: SystemIdentifier,
        events: Sender<Event>,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Config {
            dir,
            system_identifier,
            timing: Timing::default(),
            snapshot_after: 1000,
            life: Life(0),
            remembers: Box::new(|_| true),
            is_wanted: Box::new(|_| false),
            renew_lease: Box::new(|_| ()),
            limits: Arc::default(),
            events,
            wake,
            connector: Arc::new(PostgresConnector),
        }
    }
}

/// Times that may change while the thread runs.
#[derive(Debug)]
pub struct Limits {
    node_timeout_ms: AtomicU64,
    /// [`AUTO`] for what the cluster's size asks for.
    lease_ms: AtomicU64,
}

/// No number of milliseconds that somebody sets.
const AUTO: u64 = u64::MAX;
/// Fewer nodes have no majority without each of them: a lease would stop them all
/// when one is lost.
const LEAST_VOTERS: usize = 3;

impl Default for Limits {
    fn default() -> Self {
        Limits { node_timeout_ms: AtomicU64::new(10_000), lease_ms: AtomicU64::new(0) }
    }
}

impl Limits {
    /// A member that the leader has not heard for so long is marked down; never
    /// if it is zero.
    pub fn node_timeout(&self) -> Duration {
        Duration::from_millis(self.node_timeout_ms.load(Ordering::Relaxed))
    }

    /// How long one of so many voters may go by what a majority has last confirmed;
    /// `None` for ever.
    pub fn lease(&self, voters: usize) -> Option<Duration> {
        let lease = match self.lease_ms.load(Ordering::Relaxed) {
            AUTO if voters < LEAST_VOTERS => Duration::ZERO,
            // Over well before the others go on without the node.
            AUTO => self.node_timeout() * 3 / 5,
            millis => Duration::from_millis(millis),
        };
        (!lease.is_zero()).then_some(lease)
    }

    /// Changes that: zero for no lease, `None` for three fifths of the time after
    /// which a node is marked down, if there are three voters.
    pub fn set_lease(&self, lease: Option<Duration>) {
        let millis = lease.map(|lease| u64::try_from(lease.as_millis()).unwrap_or(AUTO - 1));
        self.lease_ms.store(millis.unwrap_or(AUTO), Ordering::Relaxed);
    }

    /// Changes the time after which a member is marked down.
    pub fn set_node_timeout(&self, timeout: Duration) {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.node_timeout_ms.store(millis, Ordering::Relaxed);
    }
}

/// How long things may take.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Between two signs of life of the leader, and how long it waits for the
    /// answer to one.
    pub heartbeat: Duration,
    /// A follower that heard nothing for a random time between this and
    /// `election_max` stands for election. At least a second: logging in to a
    /// peer must not trip it.
    pub election_min: Duration,
    /// See `election_min`.
    pub election_max: Duration,
    /// For connecting to a peer and logging in.
    pub connect: Duration,
    /// For a peer's answer to a message of Raft; the connection is dropped
    /// after that.
    pub call: Duration,
    /// For sending a snapshot and having it installed.
    pub snapshot: Duration,
    /// For `Propose`, `Confirm` and `Found` as a whole.
    pub proposal: Duration,
    /// A holder of the token for DDL renews it this often.
    pub token_renewal: Duration,
    /// A token that was not renewed for so long is taken away.
    pub token_lifetime: Duration,
    /// For `AddMember` and `RemoveMember` as a whole: a newcomer may have to
    /// receive a snapshot.
    pub membership: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            heartbeat: Duration::from_millis(250),
            election_min: Duration::from_millis(1000),
            election_max: Duration::from_millis(1400),
            connect: Duration::from_secs(5),
            call: Duration::from_secs(5),
            snapshot: Duration::from_secs(30),
            proposal: Duration::from_secs(10),
            token_renewal: Duration::from_millis(1000),
            token_lifetime: Duration::from_millis(4000),
            membership: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_wanted_where_a_majority_outlasts_the_loss_of_a_node() {
        let limits = Limits::default();
        limits.set_node_timeout(Duration::from_secs(10));
        limits.set_lease(None);
        let seconds = |voters| limits.lease(voters).map(|lease| lease.as_secs());
        assert_eq!([1, 2, 3, 5].map(seconds), [None, None, Some(6), Some(6)]);
        // Nobody goes on without a node that is cut off.
        limits.set_node_timeout(Duration::ZERO);
        assert_eq!(limits.lease(3), None);
        limits.set_lease(Some(Duration::from_secs(2)));
        assert_eq!(limits.lease(1), Some(Duration::from_secs(2)));
        limits.set_lease(Some(Duration::ZERO));
        assert_eq!(limits.lease(3), None);
    }
}
