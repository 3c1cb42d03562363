//! Connections to the peers, kept between calls.
//!
//! A call runs in a task of its own: openraft gives up waiting for an answer
//! after a heartbeat, much sooner than a login to a busy server may take, and a
//! connection that is nearly there must not be thrown away for that. So calls
//! outlive their callers, and each peer has a limit of them.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cluster::txn::Life;
use cluster::{Credential, Identity, NodeId};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::{PeerAddress, PeerConnection, PeerConnector};
use crate::event::{Announcer, Level};

/// Calls to one peer at a time. Requests of clients have their own limit, so
/// that a slow one does not hold up heartbeats.
const RAFT_CALLS: usize = 4;
const FORWARDED_CALLS: usize = 8;
/// Each is a backend on the peer: one for replication, one for the rest.
const IDLE_CONNECTIONS: usize = 2;
/// While a peer is in trouble, a reason other than the last is logged this
/// often at most.
const TROUBLE_REPEATED_AFTER: Duration = Duration::from_secs(60);

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// A message of Raft, of no use if it has to wait.
    Raft,
    /// A client's request.
    Forward,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// Nothing was sent.
    #[error("{0}")]
    Unreachable(io::Error),
    /// Nothing was sent: the calls before this one have no answer yet.
    #[error("too many calls without an answer")]
    Busy,
    /// The peer may have received the frame.
    #[error("connection lost: {0}")]
    Broken(io::Error),
    /// The peer may have received the frame.
    #[error("no answer in time")]
    TimedOut,
}

pub(crate) struct Peers {
    connector: Arc<dyn PeerConnector>,
    credential: Credential,
    origin: NodeId,
    connect_timeout: Duration,
    announcer: Arc<Announcer>,
    lines: Mutex<HashMap<(NodeId, String), Arc<Line>>>,
    heard: Mutex<HashMap<NodeId, Instant>>,
    life: Life,
    /// Frames sent so far, in a manner of speaking: the worker may have been
    /// started several times in one life of the server.
    sent: AtomicU64,
    /// A member has said that this node is none any more.
    is_removed: AtomicBool,
}

/// Everything about one peer at one address.
struct Line {
    node: NodeId,
    announcer: Arc<Announcer>,
    /// What went wrong last, if the peer has not answered since, and when that
    /// was logged.
    trouble: Mutex<Option<(String, Instant)>>,
    idle: Mutex<Vec<Box<dyn PeerConnection>>>,
    raft: Arc<Semaphore>,
    forwarded: Arc<Semaphore>,
}

impl Peers {
    pub(crate) fn new(
        connector: Arc<dyn PeerConnector>,
        identity: &Identity,
        connect_timeout: Duration,
        life: Life,
        announcer: Arc<Announcer>,
    ) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Peers {
            connector,
            credential: identity.credential.clone(),
            origin: identity.node_id,
            connect_timeout,
            announcer,
            lines: Mutex::default(),
            heard: Mutex::default(),
            life,
            sent: AtomicU64::new(now.as_micros() as u64),
            is_removed: AtomicBool::new(false),
        }
    }

    /// What a new frame is stamped with: this server's life and its number there.
    pub(crate) fn stamp(&self) -> (Life, u64) {
        (self.life, self.sent.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Goes on counting behind a number that a peer has seen: the clock may have
    /// been set back between two starts of the worker.
    pub(crate) fn count_from(&self, number: u64) {
        self.sent.fetch_max(number, Ordering::Relaxed);
    }

    /// Notes that a member has said that this node is none any more.
    pub(crate) fn note_removal(&self) {
        if !self.is_removed.swap(true, Ordering::Relaxed) {
            let message = "this node was removed from the cluster".to_owned();
            self.announcer.log(Level::Warning, message);
        }
    }

    /// Whether one has.
    pub(crate) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    /// Notes a sign of life of a peer: its question or its answer.
    pub(crate) fn heard(&self, node: NodeId) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.insert(node, Instant::now());
    }

    /// When the last one was.
    pub(crate) fn last_heard(&self, node: NodeId) -> Option<Instant> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).get(&node).copied()
    }

    /// Drops what concerns nodes that are `members` no more, or not at that
    /// address. Calls under way are not affected.
    pub(crate) fn keep(&self, members: &HashMap<NodeId, String>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|(node, connstr), _| members.get(node) == Some(connstr));
    }

    /// Notes how a peer took a frame, for the server's log: it answered, or
    /// refused it for a reason.
    pub(crate) fn note(&self, node: NodeId, connstr: &str, refusal: Option<String>) {
        self.line(node, connstr).note(refusal);
    }

    /// Sends a frame and answers the reply, which the peer has `limit` to give.
    pub(crate) async fn call(
        &self,
        lane: Lane,
        node: NodeId,
        connstr: &str,
        frame: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, PeerError> {
        let line = self.line(node, connstr);
        let permit = match lane {
            Lane::Raft => line.raft.clone().try_acquire_owned().map_err(|_| PeerError::Busy)?,
            Lane::Forward => {
                let permit = timeout(limit, line.forwarded.clone().acquire_owned()).await;
                permit.ok().and_then(Result::ok).ok_or(PeerError::Busy)?
            }
        };
        let credential = self.credential.clone();
        let (connstr, origin) = (connstr.to_owned(), self.origin);
        let address = PeerAddress { node, origin, connstr, credential };
        let (connector, connect_timeout) = (self.connector.clone(), self.connect_timeout);
        let (answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            let reply = line.call(&*connector, address, connect_timeout, frame, limit).await;
            drop(permit);
            if let Err(e) = &reply {
                line.note(Some(e.to_string()));
            }
            // Nobody waits any more if the caller gave up.
            answer.send(reply).ok();
        });
        // The task is gone only if the runtime is.
        answered.await.unwrap_or(Err(PeerError::TimedOut))
    }

    fn line(&self, node: NodeId, connstr: &str) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry((node, connstr.to_owned())).or_insert_with(|| {
            Arc::new(Line {
                node,
                announcer: self.announcer.clone(),
                trouble: Mutex::default(),
                idle: Mutex::default(),
                raft: Arc::new(Semaphore::new(RAFT_CALLS)),
                forwarded: Arc::new(Semaphore::new(FORWARDED_CALLS)),
            })
        });
        line.clone()
    }
}

impl Line {
    async fn call(
        &self,
        connector: &dyn PeerConnector,
        address: PeerAddress,
        connect_timeout: Duration,
        frame: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, PeerError> {
        let mut connection = match self.take_idle() {
            Some(connection) => connection,
            None => match timeout(connect_timeout, connector.connect(address)).await {
                Ok(connected) => connected.map_err(PeerError::Unreachable)?,
                Err(_) => return Err(PeerError::Unreachable(io::ErrorKind::TimedOut.into())),
            },
        };
        // A connection whose answer is missing is not used again: the answer
        // would be taken for that of the next call.
        let reply = timeout(limit, connection.call(frame)).await;
        let reply = reply.map_err(|_| PeerError::TimedOut)?.map_err(PeerError::Broken)?;
        self.keep(connection);
        Ok(reply)
    }

    /// Logs the beginning and the end of trouble with the peer.
    fn note(&self, reason: Option<String>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let (node, now) = (self.node, Instant::now());
        match (reason, &*trouble) {
            (None, None) => {}
            (None, Some(_)) => {
                *trouble = None;
                self.announcer.log(Level::Log, format!("node {node} answers again"));
            }
            (Some(reason), Some((last, at)))
                if reason == *last || now.duration_since(*at) < TROUBLE_REPEATED_AFTER => {}
            (Some(reason), _) => {
                let message = format!("no answer from node {node}: {reason}");
                *trouble = Some((reason, now));
                self.announcer.log(Level::Warning, message);
            }
        }
    }

    fn take_idle(&self) -> Option<Box<dyn PeerConnection>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.is_closed());
        idle.pop()
    }

    fn keep(&self, connection: Box<dyn PeerConnection>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS {
            idle.push(connection);
        }
    }
}
