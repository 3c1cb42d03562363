//! Which frames are looked at: those that a member of this cluster has sent to
//! this node, in the present life of its server, and that were not here before.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use cluster::metadata::Metadata;
use cluster::txn::Life;
use cluster::{Identity, NodeId};

use super::{Ask, Envelope};
use crate::error::RaftError;

/// How far a frame may be overtaken by others of its sender: calls run side by
/// side, and each peer has a limit of them.
const WINDOW: u64 = 1024;

/// The frames of all peers.
#[derive(Default)]
pub(crate) struct Gatekeeper {
    seen: Mutex<HashMap<NodeId, Seen>>,
}

/// What has come from one peer.
struct Seen {
    life: Life,
    last: u64,
    /// Those of the last [`WINDOW`] numbers that have come.
    recent: BTreeSet<u64>,
}

impl Gatekeeper {
    /// Who sends a frame and what it asks; an error that says why it is refused.
    pub(crate) fn admit(
        &self,
        frame: &[u8],
        identity: &Identity,
        metadata: &Metadata,
    ) -> Result<(NodeId, Ask), RaftError> {
        let Envelope { from, life, number, ask, .. } = Envelope::decode(frame, identity)?;
        // Its votes are forgotten: its id is never given again.
        if metadata.has_removed(from) {
            return Err(RaftError::Removed { node: from });
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.get(&from).map(|seen| seen.life).max(metadata.life_of(from));
        if known.is_some_and(|known| life < known) {
            return Err(RaftError::EarlierLife { node: from });
        }
        let news = || Seen { life, last: 0, recent: BTreeSet::new() };
        let peer = seen.entry(from).or_insert_with(news);
        if peer.life != life {
            *peer = news();
        }
        peer.note(number).map_err(|last| RaftError::Replayed { node: from, last })?;
        Ok((from, ask))
    }
}

impl Seen {
    /// The last number that has come if this one has, too, or may have.
    fn note(&mut self, number: u64) -> Result<(), u64> {
        let is_too_old = number.saturating_add(WINDOW) <= self.last;
        if is_too_old || !self.recent.insert(number) {
            return Err(self.last);
        }
        self.last = self.last.max(number);
        let first = (self.last + 1).saturating_sub(WINDOW);
        self.recent = self.recent.split_off(&first);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cluster::metadata::{DdlCommand, MetadataCommand, NodeRecord, NodeState};
    use cluster::{ClusterId, Credential, SystemIdentifier};

    use super::*;
    use crate::local::Request;

    fn identity(node: u32) -> Identity {
        Identity {
            cluster_id: ClusterId("c".into()),
            node_id: NodeId(node),
            system_identifier: SystemIdentifier(1),
            credential: Credential(String::new()),
        }
    }

    fn frame(life: u64, number: u64) -> Vec<u8> {
        let ask = Ask::Forward { request: Box::new(Request::Confirm), timeout_ms: 1 };
        let envelope = Envelope::new(&identity(1), (Life(life), number), NodeId(2), ask);
        envelope.encode().expect("small")
    }

    /// Why it is refused.
    fn refusal(gatekeeper: &Gatekeeper, metadata: &Metadata, frame: &[u8]) -> Option<RaftError> {
        gatekeeper.admit(frame, &identity(2), metadata).err()
    }

    #[test]
    fn a_frame_that_was_here_is_refused_and_one_that_was_overtaken_is_not() {
        let (gatekeeper, metadata) = (Gatekeeper::default(), Metadata::default());
        let node = NodeId(1);
        let admit = |number| refusal(&gatekeeper, &metadata, &frame(5, number));
        assert_eq!(admit(7000), None);
        assert_eq!(admit(6900), None);
        for number in [7000, 6900] {
            assert_eq!(admit(number), Some(RaftError::Replayed { node, last: 7000 }));
        }
        assert_eq!(admit(7001), None);
        // So old that nobody knows.
        let last = 7001;
        assert_eq!(admit(last - WINDOW), Some(RaftError::Replayed { node, last }));
        assert_eq!(admit(last - WINDOW + 1), None);
    }

    #[test]
    fn frames_of_an_earlier_life_are_refused() {
        let (gatekeeper, mut metadata) = (Gatekeeper::default(), Metadata::default());
        let node = NodeId(1);
        let earlier = Some(RaftError::EarlierLife { node });
        assert_eq!(refusal(&gatekeeper, &metadata, &frame(5, 10)), None);
        // A new life counts anew.
        assert_eq!(refusal(&gatekeeper, &metadata, &frame(6, 1)), None);
        assert_eq!(refusal(&gatekeeper, &metadata, &frame(5, 11)), earlier);
        // What the log knows counts, whether anything came from there or not.
        let first = NodeRecord {
            id: node,
            name: "one".into(),
            connstr: "host=one".into(),
            system_identifier: SystemIdentifier(1),
            state: NodeState::Active,
        };
        let cluster_id = ClusterId("c".into());
        metadata.apply(MetadataCommand::CreateCluster { cluster_id, first });
        let life = Life(9);
        metadata.apply(MetadataCommand::Ddl(DdlCommand::BeginLife { node, life }));
        assert_eq!(refusal(&Gatekeeper::default(), &metadata, &frame(8, 1)), earlier);
        assert_eq!(refusal(&Gatekeeper::default(), &metadata, &frame(9, 1)), None);
    }

    #[test]
    fn frames_of_a_removed_node_are_refused() {
        let mut metadata = Metadata::default();
        let node = NodeId(1);
        let first = NodeRecord {
            id: node,
            name: "one".into(),
            connstr: "host=one".into(),
            system_identifier: SystemIdentifier(1),
            state: NodeState::Active,
        };
        let cluster_id = ClusterId("c".into());
        metadata.apply(MetadataCommand::CreateCluster { cluster_id, first });
        metadata.apply(MetadataCommand::RemoveNode { node });
        let refused = refusal(&Gatekeeper::default(), &metadata, &frame(9, 1));
        assert_eq!(refused, Some(RaftError::Removed { node }));
    }
}
