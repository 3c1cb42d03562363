//! What a frame between peers says, and to whom.

use cluster::metadata::Decided;
use cluster::txn::Life;
use cluster::{ClusterId, Identity, LogIndex, NodeId};
use openraft::Vote;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::RaftError;
use crate::local::{MAX_FRAME_BYTES, Request, Response};
use crate::type_config::{RaftNodeId, SnapshotMeta, StoredMembership, TypeConfig};

/// The version of everything in this file. Frames of another are refused.
const FORMAT: u32 = 2;

/// Room that the local protocol needs around a frame (its tag).
const MAX_ENVELOPE_BYTES: usize = MAX_FRAME_BYTES - 16;

/// A question, and who asks whom. In JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    format: u32,
    cluster_id: ClusterId,
    pub(super) from: NodeId,
    /// Of the sender's server.
    pub(super) life: Life,
    /// Tells the frames of one life apart; mostly growing.
    pub(super) number: u64,
    to: NodeId,
    pub(super) ask: Ask,
}

/// The answer to it. It needs no address: it comes back on the connection of
/// the question, whose address the answering node has checked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    format: u32,
    reply: Reply,
}

/// What a node asks a peer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    Append(AppendEntriesRequest<TypeConfig>),
    Vote(VoteRequest<RaftNodeId>),
    Snapshot(Box<SnapshotBody>),
    /// A client's request that only the leader can serve, and how long the
    /// sender will wait for the answer.
    Forward {
        request: Box<Request>,
        timeout_ms: u64,
    },
    /// What the peer knows of the sender, which has been started and does not
    /// take part yet.
    Introduce,
}

/// What one node knows of another, so that the other finds out whether its data
/// directory is the one that it had last.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Acquaintance {
    /// The last life that the log has of it.
    pub(crate) life: Option<Life>,
    /// Whoever leads knows how much of the log it had, in this term.
    pub(crate) matched: Option<LogIndex>,
    /// The term of the answering node.
    pub(crate) term: u64,
    /// Who is in the log there.
    pub(crate) membership: StoredMembership,
}

/// A whole snapshot: row logs have a limit, and the rest is small.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotBody {
    pub(crate) vote: Vote<RaftNodeId>,
    pub(crate) meta: SnapshotMeta,
    pub(crate) decided: Decided,
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
// One at a time, on its way to the wire.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Reply {
    Append(AppendEntriesResponse<RaftNodeId>),
    Vote(VoteResponse<RaftNodeId>),
    Snapshot(SnapshotResponse<RaftNodeId>),
    Forward(Result<Response, RaftError>),
    Introduced(Acquaintance),
    /// The frame was not even looked at, or Raft is not running.
    Refused(RaftError),
}

/// The part of a frame that every format has.
#[derive(Deserialize)]
struct Header {
    format: u32,
}

impl Envelope {
    /// `ask` from a member to another of the same cluster; `stamp` is the
    /// sender's life and the frame's number in it.
    pub(crate) fn new(
        identity: &Identity,
        (life, number): (Life, u64),
        to: NodeId,
        ask: Ask,
    ) -> Self {
        let cluster_id = identity.cluster_id.clone();
        Envelope { format: FORMAT, cluster_id, from: identity.node_id, life, number, to, ask }
    }

    /// Answers `TooLarge` if the peer's worker would not take the frame.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, RaftError> {
        encode(self)
    }

    /// A frame for the node with this identity. One of another format, cluster or
    /// node is refused with the error that says so.
    pub(super) fn decode(frame: &[u8], identity: &Identity) -> Result<Self, RaftError> {
        let envelope: Self = decode(frame)?;
        if envelope.cluster_id != identity.cluster_id {
            let (ours, theirs) = (identity.cluster_id.clone(), envelope.cluster_id);
            return Err(RaftError::WrongCluster { ours, theirs });
        }
        if envelope.to != identity.node_id {
            return Err(RaftError::WrongNode { ours: identity.node_id, theirs: envelope.to });
        }
        Ok(envelope)
    }
}

impl Answer {
    /// The frame that says `reply`, or that it was too large to say.
    pub(crate) fn encode(reply: Reply) -> Result<Vec<u8>, RaftError> {
        let say = |reply| encode(&Answer { format: FORMAT, reply });
        say(reply).or_else(|e| say(Reply::Refused(e)))
    }

    pub(crate) fn decode(frame: &[u8]) -> Result<Reply, RaftError> {
        decode::<Self>(frame).map(|answer| answer.reply)
    }
}

fn encode(message: &impl Serialize) -> Result<Vec<u8>, RaftError> {
    let frame = serde_json::to_vec(message).map_err(RaftError::malformed)?;
    check_size(&frame)?;
    Ok(frame)
}

fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, RaftError> {
    check_size(frame)?;
    // Another format need not even parse as this one: look at the header first
    // if something is wrong.
    let parsed = serde_json::from_slice::<T>(frame);
    match serde_json::from_slice::<Header>(frame) {
        Ok(Header { format }) if format != FORMAT => {
            Err(RaftError::WrongFormat { ours: FORMAT, theirs: format })
        }
        _ => parsed.map_err(RaftError::malformed),
    }
}

fn check_size(frame: &[u8]) -> Result<(), RaftError> {
    if frame.len() > MAX_ENVELOPE_BYTES {
        let (bytes, limit) = (frame.len() as u64, MAX_ENVELOPE_BYTES as u64);
        return Err(RaftError::TooLarge { bytes, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use cluster::{Credential, SystemIdentifier};

    use super::*;

    fn identity(cluster: &str, node: u32) -> Identity {
        Identity {
            cluster_id: ClusterId(cluster.into()),
            node_id: NodeId(node),
            system_identifier: SystemIdentifier(1),
            credential: Credential(String::new()),
        }
    }

    fn frame() -> Vec<u8> {
        let request = Box::new(Request::Confirm);
        let ask = Ask::Forward { request, timeout_ms: 1 };
        Envelope::new(&identity("c", 1), (Life(1), 1), NodeId(2), ask).encode().expect("small")
    }

    fn refusal(frame: &[u8], cluster: &str, node: u32) -> Option<RaftError> {
        Envelope::decode(frame, &identity(cluster, node)).err()
    }

    #[test]
    fn a_frame_is_read_only_by_the_node_it_is_for() {
        assert_eq!(refusal(&frame(), "c", 2), None);
        let (ours, theirs) = (ClusterId("d".into()), ClusterId("c".into()));
        assert_eq!(refusal(&frame(), "d", 2), Some(RaftError::WrongCluster { ours, theirs }));
        let (ours, theirs) = (NodeId(3), NodeId(2));
        assert_eq!(refusal(&frame(), "c", 3), Some(RaftError::WrongNode { ours, theirs }));
    }

    #[test]
    fn another_format_is_told_from_rubbish() {
        let newer = br#"{"format":3,"letter":"?"}"#;
        assert_eq!(refusal(newer, "c", 2), Some(RaftError::WrongFormat { ours: 2, theirs: 3 }));
        assert!(matches!(refusal(b"\xff\x00", "c", 2), Some(RaftError::Malformed { .. })));
    }

    #[test]
    fn an_oversized_frame_is_refused_unread() {
        let frame = vec![b'{'; MAX_ENVELOPE_BYTES + 1];
        assert!(matches!(refusal(&frame, "c", 2), Some(RaftError::TooLarge { .. })));
    }
}
