//! openraft's network trait over [`Peers`].

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Identity, NodeId};
use openraft::error::{
    Fatal, InstallSnapshotError, NetworkError, PayloadTooLarge, RPCError, ReplicationClosed,
    StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, RaftNetwork, RaftNetworkFactory, StorageIOError, Vote};

use super::{Answer, Ask, Envelope, Lane, PeerError, Peers, Reply, SnapshotBody};
use crate::config::Timing;
use crate::error::RaftError;
use crate::type_config::{RaftNodeId, Snapshot, TypeConfig, node_id};

type OpenraftError<E> = openraft::error::RaftError<RaftNodeId, E>;
type CallError<E> = RPCError<RaftNodeId, BasicNode, OpenraftError<E>>;

/// After a peer could not be reached: soon at first, for a server that is being
/// restarted, but always within an election timeout.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_FIRST_TIMES: usize = 10;
const BACKOFF_LATER: Duration = Duration::from_millis(1000);

/// Asks a peer and answers its reply, or why there is none.
///
/// The inner error is what this node or the peer found wrong with the frame;
/// nothing came of the question then.
pub(crate) async fn ask(
    peers: &Peers,
    identity: &Identity,
    (node, connstr): (NodeId, &str),
    lane: Lane,
    body: Ask,
    limit: Duration,
) -> Result<Result<Reply, RaftError>, PeerError> {
    let envelope = Envelope::new(identity, peers.stamp(), node, body);
    let frame = match envelope.encode() {
        Ok(frame) => frame,
        Err(e) => return Ok(Err(e)),
    };
    let reply = peers.call(lane, node, connstr, frame, limit).await?;
    match Answer::decode(&reply) {
        Ok(Reply::Refused(e)) => {
            if e == (RaftError::Removed { node: identity.node_id }) {
                peers.note_removal();
            }
            if let RaftError::Replayed { last, .. } = &e {
                peers.count_from(*last);
            }
            peers.note(node, connstr, Some(e.to_string()));
            Ok(Err(e))
        }
        Ok(reply) => {
            peers.heard(node);
            peers.note(node, connstr, None);
            Ok(Ok(reply))
        }
        // The peer did get the frame, and what it did with it is not known.
        Err(e) => Err(PeerError::Broken(io::Error::new(io::ErrorKind::InvalidData, e))),
    }
}

/// Makes a [`PeerNetwork`] for each member.
pub(crate) struct Network {
    pub(crate) identity: Arc<Identity>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) timing: Timing,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerNetwork;

    async fn new_client(&mut self, target: RaftNodeId, node: &BasicNode) -> PeerNetwork {
        PeerNetwork {
            identity: self.identity.clone(),
            peers: self.peers.clone(),
            timing: self.timing.clone(),
            target: node_id(target),
            connstr: node.addr.clone(),
        }
    }
}

/// openraft's way to one member.
pub(crate) struct PeerNetwork {
    identity: Arc<Identity>,
    peers: Arc<Peers>,
    timing: Timing,
    target: NodeId,
    connstr: String,
}

/// Why Raft's message has no reply.
enum Silence {
    Peer(PeerError),
    Refused(RaftError),
}

impl PeerNetwork {
    async fn ask(&self, body: Ask, limit: Duration) -> Result<Reply, Silence> {
        let peer = (self.target, self.connstr.as_str());
        let asked = ask(&self.peers, &self.identity, peer, Lane::Raft, body, limit).await;
        asked.map_err(Silence::Peer)?.map_err(Silence::Refused)
    }
}

impl Silence {
    /// Everything that fails at once asks for a pause: openraft repeats after a
    /// `Network` error immediately.
    fn into_rpc<E: std::error::Error>(self) -> CallError<E> {
        match self {
            Silence::Peer(e @ (PeerError::Broken(_) | PeerError::TimedOut)) => {
                NetworkError::new(&e).into()
            }
            Silence::Peer(e) => Unreachable::new(&e).into(),
            Silence::Refused(e) => Unreachable::new(&e).into(),
        }
    }
}

/// The peer answered something else than it was asked.
fn beside_the_point<E: std::error::Error>() -> CallError<E> {
    Unreachable::new(&RaftError::malformed("reply of another kind")).into()
}

impl RaftNetwork<TypeConfig> for PeerNetwork {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<RaftNodeId>, CallError<openraft::error::Infallible>> {
        let entries = rpc.entries.len() as u64;
        match self.ask(Ask::Append(rpc), self.timing.call).await {
            Ok(Reply::Append(response)) => Ok(response),
            Ok(_) => Err(beside_the_point()),
            Err(Silence::Refused(RaftError::TooLarge { .. })) if entries > 1 => {
                Err(PayloadTooLarge::new_entries_hint(entries / 2).into())
            }
            Err(e) => Err(e.into_rpc()),
        }
    }

    /// Snapshots are sent whole, by `full_snapshot`.
    async fn install_snapshot(
        &mut self,
        _rpc: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<RaftNodeId>, CallError<InstallSnapshotError>> {
        let refused = RaftError::malformed("snapshots are not sent in pieces");
        Err(Unreachable::new(&refused).into())
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<RaftNodeId>,
        _option: RPCOption,
    ) -> Result<VoteResponse<RaftNodeId>, CallError<openraft::error::Infallible>> {
        match self.ask(Ask::Vote(rpc), self.timing.call).await {
            Ok(Reply::Vote(response)) => Ok(response),
            Ok(_) => Err(beside_the_point()),
            Err(e) => Err(e.into_rpc()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<RaftNodeId>,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<RaftNodeId>, StreamingError<TypeConfig, Fatal<RaftNodeId>>> {
        let signature = Some(snapshot.meta.signature());
        let decided = serde_json::from_slice(snapshot.snapshot.get_ref())
            .map_err(|e| StorageIOError::read_snapshot(signature, &e))
            .map_err(openraft::StorageError::from)?;
        let body = SnapshotBody { vote, meta: snapshot.meta, decided };
        let reply = tokio::select! {
            closed = cancel => return Err(closed.into()),
            reply = self.ask(Ask::Snapshot(Box::new(body)), self.timing.snapshot) => reply,
        };
        match reply {
            Ok(Reply::Snapshot(response)) => Ok(response),
            Ok(_) => Err(Unreachable::new(&RaftError::malformed("reply of another kind")).into()),
            Err(Silence::Peer(e)) => Err(Unreachable::new(&e).into()),
            Err(Silence::Refused(e)) => Err(Unreachable::new(&e).into()),
        }
    }

    fn backoff(&self) -> Backoff {
        let first = std::iter::repeat_n(BACKOFF_FIRST, BACKOFF_FIRST_TIMES);
        Backoff::new(first.chain(std::iter::repeat(BACKOFF_LATER)))
    }
}
