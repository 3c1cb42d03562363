//! Several nodes in one process.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster::metadata::{Metadata, MetadataCommand, NodeRecord, NodeState, Outcome};
use cluster::txn::Life;
use cluster::{ClusterId, Credential, Identity, LogIndex, NodeId, SystemIdentifier};
use crossbeam_channel::Receiver;
use raft::{
    BoxFuture, Client, Config, Event, FrameReader, PeerAddress, PeerConnection, PeerConnector,
    RaftError, RaftState, RaftStatus, RaftThread, Request, Response, SOCKET_NAME, Timing,
    decode_response, encode_request,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Each start of a node has its own, and a later one a larger one.
static LIVES: AtomicU64 = AtomicU64::new(1);

/// For whatever must happen sooner or later on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn timing() -> Timing {
    Timing {
        heartbeat: Duration::from_millis(150),
        election_min: Duration::from_millis(1000),
        election_max: Duration::from_millis(2000),
        proposal: Duration::from_secs(5),
        membership: Duration::from_secs(30),
        ..Timing::default()
    }
}

/// Polls until `look` finds something.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Where the nodes are, and who is cut off from all others.
#[derive(Default)]
pub struct Net {
    places: Mutex<HashMap<String, PathBuf>>,
    cut_off: Mutex<HashSet<String>>,
}

impl Net {
    fn allows(&self, from: &str, to: &str) -> io::Result<()> {
        let cut_off = self.cut_off.lock().expect("not poisoned");
        if cut_off.contains(from) || cut_off.contains(to) {
            return Err(io::Error::new(io::ErrorKind::HostUnreachable, "cut off"));
        }
        Ok(())
    }

    pub fn cut_off(&self, node: u32) {
        self.cut_off.lock().expect("not poisoned").insert(connstr(node));
    }

    pub fn heal(&self) {
        self.cut_off.lock().expect("not poisoned").clear();
    }
}

/// One node's view of the net: straight to the peer's socket, as the peer's
/// `shardman.raft_rpc` would.
struct Plug {
    net: Arc<Net>,
    own: String,
}

impl PeerConnector for Plug {
    fn connect(
        &self,
        address: PeerAddress,
    ) -> BoxFuture<'static, io::Result<Box<dyn PeerConnection>>> {
        let (net, own) = (self.net.clone(), self.own.clone());
        Box::pin(async move {
            net.allows(&own, &address.connstr)?;
            let place = net.places.lock().expect("not poisoned").get(&address.connstr).cloned();
            let place = place.ok_or(io::ErrorKind::NotFound)?;
            let stream = UnixStream::connect(place.join(SOCKET_NAME)).await?;
            let wire = Wire { net, own, peer: address.connstr, stream, broken: false };
            Ok(Box::new(wire) as Box<dyn PeerConnection>)
        })
    }
}

struct Wire {
    net: Arc<Net>,
    own: String,
    peer: String,
    stream: UnixStream,
    broken: bool,
}

impl Wire {
    async fn exchange(&mut self, frame: Vec<u8>) -> io::Result<Vec<u8>> {
        self.net.allows(&self.own, &self.peer)?;
        let bytes = encode_request(&Request::Rpc(frame)).map_err(io::Error::other)?;
        self.stream.write_all(&bytes).await?;
        let (mut reader, mut chunk) = (FrameReader::new(), [0; 4096]);
        loop {
            if let Some(frame) = reader.next_frame().map_err(io::Error::other)? {
                self.net.allows(&self.own, &self.peer)?;
                return match decode_response(&frame).map_err(io::Error::other)? {
                    Response::Rpc(reply) => Ok(reply),
                    other => Err(io::Error::other(format!("{other:?}"))),
                };
            }
            match self.stream.read(&mut chunk).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => reader.extend(&chunk[..n]),
            }
        }
    }
}

impl PeerConnection for Wire {
    fn call(&mut self, frame: Vec<u8>) -> BoxFuture<'_, io::Result<Vec<u8>>> {
        Box::pin(async move {
            let reply = self.exchange(frame).await;
            self.broken = reply.is_err();
            reply
        })
    }

    fn is_closed(&self) -> bool {
        let peeked = self.stream.try_read(&mut [0]);
        let is_quiet = matches!(peeked, Err(e) if e.kind() == io::ErrorKind::WouldBlock);
        self.broken || !is_quiet
    }
}

fn connstr(node: u32) -> String {
    format!("host=n{node} port=5432 dbname=postgres")
}

pub fn cluster_id() -> ClusterId {
    ClusterId("c0ffee".into())
}

pub fn identity(node: u32) -> Identity {
    Identity {
        cluster_id: cluster_id(),
        node_id: NodeId(node),
        system_identifier: SystemIdentifier(1000 + u64::from(node)),
        credential: Credential("secret".into()),
    }
}

pub fn record(node: u32) -> NodeRecord {
    NodeRecord {
        id: NodeId(node),
        name: format!("node{node}"),
        connstr: connstr(node),
        system_identifier: SystemIdentifier(1000 + u64::from(node)),
        state: NodeState::Active,
    }
}

/// A node and its directory, running or not.
pub struct Node {
    pub number: u32,
    pub dir: PathBuf,
    net: Arc<Net>,
    snapshot_after: u64,
    /// What the data directory has had, as the server's own file would say.
    pub lives: Vec<Life>,
    thread: Option<RaftThread>,
    pub events: Option<Receiver<Event>>,
}

impl Node {
    pub fn start(&mut self) {
        self.start_as(SystemIdentifier(1000 + u64::from(self.number)));
    }

    pub fn start_as(&mut self, system_identifier: SystemIdentifier) {
        let life = Life(LIVES.fetch_add(1, Ordering::Relaxed));
        self.lives.push(life);
        self.start_in(life, system_identifier);
    }

    /// Starts it again in the life that it had.
    pub fn resume(&mut self) {
        let life = *self.lives.last().expect("it has lived");
        self.start_in(life, SystemIdentifier(1000 + u64::from(self.number)));
    }

    fn start_in(&mut self, life: Life, system_identifier: SystemIdentifier) {
        let (events, receiver) = crossbeam_channel::unbounded();
        let own = connstr(self.number);
        self.net.places.lock().expect("not poisoned").insert(own.clone(), self.dir.clone());
        let mut config = Config::new(self.dir.clone(), system_identifier, events, Box::new(|| ()));
        config.timing = timing();
        config.snapshot_after = self.snapshot_after;
        config.life = life;
        let lives = self.lives.clone();
        config.remembers = Box::new(move |life| lives.contains(&life));
        config.connector = Arc::new(Plug { net: self.net.clone(), own });
        self.thread = Some(raft::spawn(config).expect("the thread starts"));
        self.events = Some(receiver);
    }

    pub fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            assert!(!thread.is_finished());
            thread.shutdown().expect("an orderly end");
        }
    }

    pub fn call(&self, request: Request) -> Result<Response, RaftError> {
        let mut client = Client::connect(&self.dir, PATIENCE).expect("the socket is there");
        client.call(&request).expect("an answer")
    }

    pub fn done(&self, request: Request) {
        assert_eq!(self.call(request), Ok(Response::Done));
    }

    pub fn propose(&self, command: MetadataCommand) -> Result<(LogIndex, Outcome), RaftError> {
        match self.call(Request::Propose(command))? {
            Response::Proposed { index, outcome } => Ok((index, outcome)),
            other => panic!("not an answer to a proposal: {other:?}"),
        }
    }

    /// Proposes that `node` is added; the log gives ids in order.
    pub fn admit(&self, node: u32) -> LogIndex {
        let NodeRecord { name, connstr, system_identifier, .. } = record(node);
        let command = MetadataCommand::AddNode { name, connstr, system_identifier };
        let (index, outcome) = self.propose(command).expect("proposed");
        assert_eq!(outcome, Outcome::NodeAdded { id: NodeId(node) });
        index
    }

    pub fn metadata(&self) -> (LogIndex, Metadata) {
        match self.call(Request::Metadata) {
            Ok(Response::Metadata { index, metadata }) => (index, metadata),
            other => panic!("not metadata: {other:?}"),
        }
    }

    pub fn confirm(&self) -> Result<LogIndex, RaftError> {
        match self.call(Request::Confirm)? {
            Response::Confirmed { index } => Ok(index),
            other => panic!("not a confirmation: {other:?}"),
        }
    }

    pub fn status(&self) -> RaftStatus {
        match self.call(Request::Status) {
            Ok(Response::Status(status)) => status,
            other => panic!("not a status: {other:?}"),
        }
    }

    /// The next event that is no line for the server's log.
    pub fn next_news(&self) -> Event {
        let events = std::iter::repeat_with(|| self.next_event());
        events.into_iter().find(|event| !matches!(event, Event::Log { .. })).expect("endless")
    }

    pub fn next_event(&self) -> Event {
        let events = self.events.as_ref().expect("started");
        events.recv_timeout(PATIENCE).expect("an event")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Node `n` is at index `n - 1`.
pub struct Stage {
    pub net: Arc<Net>,
    pub nodes: Vec<Node>,
    // After the nodes, which write into it until they are dropped.
    root: TempDir,
}

impl Stage {
    /// `count` running nodes without a cluster.
    pub fn outside(count: u32) -> Self {
        Stage::with_snapshots(count, 1000)
    }

    pub fn with_snapshots(count: u32, snapshot_after: u64) -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        let net = Arc::<Net>::default();
        let nodes = (1..=count).map(|number| {
            let dir = root.path().join(format!("n{number}"));
            let net = net.clone();
            let (lives, thread, events) = (Vec::new(), None, None);
            let mut node = Node { number, dir, net, snapshot_after, lives, thread, events };
            node.start();
            node
        });
        let nodes = nodes.collect();
        Stage { net, nodes, root }
    }

    /// A cluster of `count` nodes, made the way `add_node` makes it.
    pub fn cluster(count: u32) -> Self {
        let stage = Stage::outside(count);
        stage.found();
        (2..=count).for_each(|node| stage.join(node));
        for node in 1..=count {
            eventually("the log knows of the node's start", || stage.node(node).confirm().ok());
        }
        stage
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn node(&self, number: u32) -> &Node {
        &self.nodes[number as usize - 1]
    }

    pub fn node_mut(&mut self, number: u32) -> &mut Node {
        &mut self.nodes[number as usize - 1]
    }

    pub fn found(&self) {
        self.node(1).done(Request::Found { identity: identity(1), first: record(1) });
    }

    pub fn join(&self, node: u32) {
        self.node(1).admit(node);
        self.node(node).done(Request::Adopt { identity: identity(node) });
        self.node(1).done(Request::AddMember { node: record(node) });
    }

    /// The node that leads, seen by itself.
    pub fn leader_among(&self, numbers: &[u32]) -> u32 {
        eventually("one of the nodes leads", || {
            let leads = |n: &&u32| self.node(**n).status().state == RaftState::Leader;
            numbers.iter().find(leads).copied()
        })
    }

    /// Waits until all of them have applied `index` and stand at the same entry, and
    /// answers their state. Nodes write to the log by themselves, too.
    pub fn agreed(&self, numbers: &[u32], index: LogIndex) -> Metadata {
        eventually(&format!("nodes {numbers:?} have applied {index}"), || {
            let mut states = numbers.iter().map(|number| {
                // One that has just been started says nothing yet.
                match self.node(*number).call(Request::Metadata) {
                    Ok(Response::Metadata { index, metadata }) => Some((index, metadata)),
                    _ => None,
                }
            });
            let (at, first) = states.next().expect("at least one node")?;
            for state in states {
                let (also_at, state) = state?;
                if also_at != at {
                    return None;
                }
                assert_eq!(state, first, "the nodes differ at entry {at}");
            }
            (at >= index).then_some(first)
        })
    }
}
