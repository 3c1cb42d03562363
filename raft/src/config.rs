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
    /// this node is one of them. From the Raft thread.
    pub renew_lease: Box<dyn Fn(Instant) + Send + Sync>,
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
    lease_ms: AtomicU64,
}

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

    /// How long a node may go by what a majority has last confirmed; zero for
    /// ever.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms.load(Ordering::Relaxed))
    }

    /// Changes that.
    pub fn set_lease(&self, lease: Duration) {
        let millis = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        self.lease_ms.store(millis, Ordering::Relaxed);
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
