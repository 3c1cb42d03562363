//! The metadata state machine: the same entries in the same order make the
//! same state on every node.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    DdlCommand, DdlLog, DdlPosition, DdlRefusal, Exhausted, MetadataCommand, NodeRecord, NodeState,
    Outcome, Refusal, SequenceBlock, SequenceBounds, SequencePosition, TokenId,
};
use crate::jobs::{JobCommand, Jobs};
use crate::txn::Life;
use crate::{ClusterId, NodeId, SequenceId, SystemIdentifier};

/// Everything the log has decided so far. Small: it travels whole in snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    cluster_id: Option<ClusterId>,
    nodes: BTreeMap<NodeId, NodeRecord>,
    /// Ids below this one have been given; a removed node's id stays taken.
    next_node_id: NodeId,
    /// How often the set of active nodes has changed.
    #[serde(default)]
    epoch: u64,
    /// How far each sequence has been handed out.
    #[serde(default)]
    sequences: BTreeMap<SequenceId, SequencePosition>,
    /// The last start of each member's server that it has told of.
    #[serde(default)]
    lives: BTreeMap<NodeId, Life>,
    #[serde(default)]
    ddl: DdlLog,
    jobs: Jobs,
}

impl Default for Metadata {
    fn default() -> Self {
        Metadata {
            cluster_id: None,
            nodes: BTreeMap::new(),
            next_node_id: NodeId(1),
            epoch: 0,
            sequences: BTreeMap::new(),
            lives: BTreeMap::new(),
            ddl: DdlLog::default(),
            jobs: Jobs::default(),
        }
    }
}

impl Metadata {
    /// The cluster, once `CreateCluster` was applied.
    pub fn cluster_id(&self) -> Option<&ClusterId> {
        self.cluster_id.as_ref()
    }

    /// All members, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeRecord> {
        self.nodes.values()
    }

    /// One member.
    pub fn node(&self, id: NodeId) -> Option<&NodeRecord> {
        self.nodes.get(&id)
    }

    /// Whether a node was a member once and is none any more.
    pub fn has_removed(&self, id: NodeId) -> bool {
        id < self.next_node_id && !self.nodes.contains_key(&id)
    }

    /// One more with each change of the set of active nodes: who writes to all of
    /// them says with it which ones he means.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The last life that a member has begun, as far as it has told.
    pub fn life_of(&self, id: NodeId) -> Option<Life> {
        self.lives.get(&id).copied()
    }

    /// Managed DDL.
    pub fn ddl(&self) -> &DdlLog {
        &self.ddl
    }

    /// All jobs.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Applies one committed entry. A refusal leaves the state as it was.
    pub fn apply(&mut self, command: MetadataCommand) -> Outcome {
        let before = self.active_nodes();
        let outcome = self.apply_command(command);
        self.epoch += u64::from(self.active_nodes() != before);
        outcome
    }

    fn active_nodes(&self) -> Vec<NodeId> {
        let active = self.nodes.values().filter(|member| member.state == NodeState::Active);
        active.map(|member| member.id).collect()
    }

    fn apply_command(&mut self, command: MetadataCommand) -> Outcome {
        let applied = match command {
            MetadataCommand::CreateCluster { cluster_id, first } => {
                self.create_cluster(cluster_id, first)
            }
            _ if self.cluster_id.is_none() => Err(Refusal::NoCluster),
            MetadataCommand::AddNode { name, connstr, system_identifier } => {
                self.add_node(name, connstr, system_identifier)
            }
            MetadataCommand::ActivateNode { node } => self.activate_node(node),
            MetadataCommand::RemoveNode { node } => self.remove_node(node),
            MetadataCommand::TakeSequenceBlock { sequence, bounds, count } => {
                self.take_block(sequence, &bounds, count)
            }
            MetadataCommand::SetSequence { sequence, bounds, next, count } => {
                Ok(self.set_sequence(sequence, &bounds, next, count))
            }
            MetadataCommand::AdmitNode { node, token } => self.admit_node(node, token),
            MetadataCommand::MarkDown { node } => self.mark_down(node),
            MetadataCommand::ReturnNode { node, position } => self.return_node(node, position),
            MetadataCommand::Ddl(DdlCommand::BeginLife { node, life }) => {
                self.begin_life(node, life)
            }
            MetadataCommand::Ddl(command) => {
                let members = self.holders_of_the_schema();
                let answer = self.ddl.apply(command, &members);
                answer
                    .map(|answer| answer.map_or(Outcome::Applied, Outcome::Ddl))
                    .map_err(Refusal::Ddl)
            }
            MetadataCommand::Job(command) => self.apply_job(command),
            // Their rows are kept apart: see `Decided`.
            MetadataCommand::RowLog(_) => Ok(Outcome::Applied),
        };
        applied.unwrap_or_else(Outcome::Refused)
    }

    /// Lives only grow: an earlier one is a server that should be gone.
    fn begin_life(&mut self, id: NodeId, life: Life) -> Result<Outcome, Refusal> {
        if !self.nodes.contains_key(&id) {
            return Err(Refusal::UnknownNode { id });
        }
        let known = self.lives.entry(id).or_insert(life);
        if *known > life {
            return Err(Refusal::EarlierLife { id });
        }
        *known = life;
        self.ddl.begin_life(id, life);
        Ok(Outcome::Applied)
    }

    fn apply_job(&mut self, command: JobCommand) -> Result<Outcome, Refusal> {
        let answer = self.jobs.apply(command).map_err(Refusal::Job)?;
        Ok(answer.map_or(Outcome::Applied, Outcome::Job))
    }

    fn create_cluster(
        &mut self,
        cluster_id: ClusterId,
        first: NodeRecord,
    ) -> Result<Outcome, Refusal> {
        if self.cluster_id.is_some() {
            return Err(Refusal::ClusterExists);
        }
        self.cluster_id = Some(cluster_id);
        self.next_node_id = NodeId(first.id.0 + 1);
        self.nodes.insert(first.id, first);
        Ok(Outcome::Applied)
    }

    fn add_node(
        &mut self,
        name: String,
        connstr: String,
        system_identifier: SystemIdentifier,
    ) -> Result<Outcome, Refusal> {
        let id = self.next_node_id;
        let name = if name.is_empty() { format!("node{id}") } else { name };
        for member in self.nodes.values() {
            if member.system_identifier == system_identifier {
                return Err(Refusal::AlreadyMember { id: member.id });
            }
            if member.connstr == connstr {
                return Err(Refusal::AddressTaken { id: member.id });
            }
            if member.name == name {
                return Err(Refusal::NameTaken { id: member.id, name });
            }
        }
        self.next_node_id = NodeId(id.0 + 1);
        let state = NodeState::Joining;
        self.nodes.insert(id, NodeRecord { id, name, connstr, system_identifier, state });
        Ok(Outcome::NodeAdded { id })
    }

    fn activate_node(&mut self, id: NodeId) -> Result<Outcome, Refusal> {
        let member = self.nodes.get_mut(&id).ok_or(Refusal::UnknownNode { id })?;
        member.state = NodeState::Active;
        Ok(Outcome::Applied)
    }

    fn take_block(
        &mut self,
        sequence: SequenceId,
        bounds: &SequenceBounds,
        count: u32,
    ) -> Result<Outcome, Refusal> {
        let start = SequencePosition::at_start(bounds);
        let mut position = self.sequences.get(&sequence).copied().unwrap_or(start);
        let block = position.take(bounds, count).map_err(|Exhausted| Refusal::SequenceExhausted)?;
        self.sequences.insert(sequence, position);
        Ok(Outcome::SequenceBlock(block))
    }

    fn set_sequence(
        &mut self,
        sequence: SequenceId,
        bounds: &SequenceBounds,
        next: Option<i64>,
        count: u32,
    ) -> Outcome {
        let mut position = SequencePosition::at_start(bounds);
        position.set(next);
        // At its end there is nothing to hand out, and that is no mistake.
        let block = next.and_then(|_| position.take(bounds, count).ok());
        self.sequences.insert(sequence, position);
        Outcome::SequenceBlock(block.unwrap_or(SequenceBlock { first: bounds.first, count: 0 }))
    }

    fn remove_node(&mut self, id: NodeId) -> Result<Outcome, Refusal> {
        self.nodes.remove(&id).ok_or(Refusal::UnknownNode { id })?;
        self.lives.remove(&id);
        let members = self.holders_of_the_schema();
        self.ddl.forget(id, &members);
        Ok(Outcome::Applied)
    }

    fn admit_node(&mut self, id: NodeId, token: TokenId) -> Result<Outcome, Refusal> {
        let member = self.nodes.get_mut(&id).ok_or(Refusal::UnknownNode { id })?;
        if member.state != NodeState::Joining {
            return Err(Refusal::NotInState { id, wanted: NodeState::Joining });
        }
        self.ddl.start_at_tail(id, token)?;
        member.state = NodeState::Active;
        Ok(Outcome::Applied)
    }

    fn mark_down(&mut self, id: NodeId) -> Result<Outcome, Refusal> {
        let member = self.nodes.get_mut(&id).ok_or(Refusal::UnknownNode { id })?;
        if member.state != NodeState::Active {
            return Err(Refusal::NotInState { id, wanted: NodeState::Active });
        }
        member.state = NodeState::Down;
        self.ddl.revoke_of(id);
        Ok(Outcome::Applied)
    }

    fn return_node(&mut self, id: NodeId, position: DdlPosition) -> Result<Outcome, Refusal> {
        let member = self.nodes.get_mut(&id).ok_or(Refusal::UnknownNode { id })?;
        if member.state != NodeState::Down {
            return Err(Refusal::NotInState { id, wanted: NodeState::Down });
        }
        if position < self.ddl.tail().position {
            return Err(DdlRefusal::Behind { node: id }.into());
        }
        member.state = NodeState::Active;
        Ok(Outcome::Applied)
    }

    /// Those that entries are kept for, up or down.
    fn holders_of_the_schema(&self) -> Vec<NodeId> {
        let members = self.nodes.values().filter(|member| member.state != NodeState::Joining);
        members.map(|member| member.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{DdlAnswer, DdlEntry, EntryKind, TokenHolder};

    fn record(id: u32) -> NodeRecord {
        NodeRecord {
            id: NodeId(id),
            name: format!("node{id}"),
            connstr: format!("host=h{id} port=5432 dbname=postgres"),
            system_identifier: SystemIdentifier(1000 + u64::from(id)),
            state: NodeState::Active,
        }
    }

    fn cluster_of_one() -> Metadata {
        let mut metadata = Metadata::default();
        let cluster_id = ClusterId("c".into());
        let created =
            metadata.apply(MetadataCommand::CreateCluster { cluster_id, first: record(1) });
        assert_eq!(created, Outcome::Applied);
        metadata
    }

    fn add(metadata: &mut Metadata, id: u32) -> Outcome {
        let NodeRecord { connstr, system_identifier, .. } = record(id);
        let name = String::new();
        metadata.apply(MetadataCommand::AddNode { name, connstr, system_identifier })
    }

    #[test]
    fn the_epoch_counts_changes_of_the_active_nodes_alone() {
        let mut metadata = cluster_of_one();
        let founded = metadata.epoch();
        add(&mut metadata, 2);
        metadata.apply(MetadataCommand::MarkDown { node: NodeId(2) });
        assert_eq!(metadata.epoch(), founded, "who joins is not active yet");
        for command in [
            MetadataCommand::ActivateNode { node: NodeId(2) },
            MetadataCommand::MarkDown { node: NodeId(2) },
            MetadataCommand::ReturnNode { node: NodeId(2), position: DdlPosition(0) },
            MetadataCommand::RemoveNode { node: NodeId(2) },
        ] {
            let before = metadata.epoch();
            metadata.apply(command.clone());
            assert_eq!(metadata.epoch(), before + 1, "{command:?}");
            metadata.apply(command.clone());
            assert_eq!(metadata.epoch(), before + 1, "{command:?} again");
        }
    }

    #[test]
    fn nothing_is_accepted_before_the_cluster_exists() {
        assert_eq!(add(&mut Metadata::default(), 2), Outcome::Refused(Refusal::NoCluster));
    }

    #[test]
    fn a_second_create_cluster_is_refused_and_changes_nothing() {
        let mut metadata = cluster_of_one();
        let before = metadata.clone();
        let cluster_id = ClusterId("d".into());
        let again = metadata.apply(MetadataCommand::CreateCluster { cluster_id, first: record(7) });
        assert_eq!(again, Outcome::Refused(Refusal::ClusterExists));
        assert_eq!(metadata, before);
    }

    #[test]
    fn a_new_node_joins_under_the_next_id_and_is_named_after_it() {
        let mut metadata = cluster_of_one();
        assert_eq!(add(&mut metadata, 2), Outcome::NodeAdded { id: NodeId(2) });
        let member = metadata.node(NodeId(2)).expect("just added");
        assert_eq!((member.name.as_str(), member.state), ("node2", NodeState::Joining));
        metadata.apply(MetadataCommand::ActivateNode { node: NodeId(2) });
        assert_eq!(metadata.node(NodeId(2)).map(|n| n.state), Some(NodeState::Active));
    }

    #[test]
    fn the_same_data_directory_cannot_join_twice() {
        let mut metadata = cluster_of_one();
        add(&mut metadata, 2);
        let again = add(&mut metadata, 2);
        assert_eq!(again, Outcome::Refused(Refusal::AlreadyMember { id: NodeId(2) }));
    }

    #[test]
    fn an_address_and_a_name_belong_to_one_member() {
        let mut metadata = cluster_of_one();
        let connstr = record(1).connstr;
        let system_identifier = SystemIdentifier(9);
        let taken = metadata.apply(MetadataCommand::AddNode {
            name: "x".into(),
            connstr,
            system_identifier,
        });
        assert_eq!(taken, Outcome::Refused(Refusal::AddressTaken { id: NodeId(1) }));
        let taken = metadata.apply(MetadataCommand::AddNode {
            name: "node1".into(),
            connstr: "host=new".into(),
            system_identifier,
        });
        let (id, name) = (NodeId(1), "node1".into());
        assert_eq!(taken, Outcome::Refused(Refusal::NameTaken { id, name }));
    }

    #[test]
    fn a_removed_nodes_id_is_not_given_again() {
        let mut metadata = cluster_of_one();
        add(&mut metadata, 2);
        metadata.apply(MetadataCommand::RemoveNode { node: NodeId(2) });
        assert!(metadata.has_removed(NodeId(2)) && !metadata.has_removed(NodeId(3)));
        assert_eq!(add(&mut metadata, 2), Outcome::NodeAdded { id: NodeId(3) });
        assert!(!metadata.has_removed(NodeId(3)));
    }

    #[test]
    fn the_last_life_of_a_member_is_known_and_no_earlier_one_follows() {
        let mut metadata = cluster_of_one();
        let begin = |id, life| {
            let (node, life) = (NodeId(id), Life(life));
            MetadataCommand::Ddl(DdlCommand::BeginLife { node, life })
        };
        assert_eq!(metadata.apply(begin(1, 10)), Outcome::Applied);
        assert_eq!(metadata.apply(begin(1, 12)), Outcome::Applied);
        assert_eq!(metadata.apply(begin(1, 12)), Outcome::Applied);
        let earlier = Refusal::EarlierLife { id: NodeId(1) };
        assert_eq!(metadata.apply(begin(1, 11)), Outcome::Refused(earlier));
        assert_eq!(metadata.life_of(NodeId(1)), Some(Life(12)));
        let stranger = Refusal::UnknownNode { id: NodeId(2) };
        assert_eq!(metadata.apply(begin(2, 1)), Outcome::Refused(stranger));
        add(&mut metadata, 2);
        metadata.apply(begin(2, 1));
        metadata.apply(MetadataCommand::RemoveNode { node: NodeId(2) });
        assert_eq!(metadata.life_of(NodeId(2)), None);
    }

    #[test]
    fn a_sequence_is_handed_out_in_blocks_that_never_overlap() {
        let mut metadata = cluster_of_one();
        let sequence = SequenceId(5);
        let bounds = SequenceBounds { first: 1, increment: 1, min: 1, max: 1000, cycle: false };
        let take = |metadata: &mut Metadata, sequence| {
            metadata.apply(MetadataCommand::TakeSequenceBlock { sequence, bounds, count: 300 })
        };
        let block = |first, count| Outcome::SequenceBlock(SequenceBlock { first, count });
        assert_eq!(take(&mut metadata, sequence), block(1, 300));
        assert_eq!(take(&mut metadata, sequence), block(301, 300));
        assert_eq!(take(&mut metadata, SequenceId(6)), block(1, 300));
        let json = serde_json::to_string(&metadata).unwrap();
        let mut metadata: Metadata = serde_json::from_str(&json).unwrap();
        assert_eq!(take(&mut metadata, sequence), block(601, 300));
        let set = |next| MetadataCommand::SetSequence { sequence, bounds, next, count: 300 };
        assert_eq!(metadata.apply(set(Some(900))), block(900, 101));
        let exhausted = Outcome::Refused(Refusal::SequenceExhausted);
        assert_eq!(take(&mut metadata, sequence), exhausted);
        assert_eq!(metadata.apply(set(None)), block(1, 0));
        assert_eq!(take(&mut metadata, sequence), exhausted);
    }

    #[test]
    fn a_state_from_before_sequences_is_read() {
        let mut old = serde_json::to_value(cluster_of_one()).unwrap();
        old.as_object_mut().unwrap().remove("sequences");
        assert_eq!(serde_json::from_value::<Metadata>(old).unwrap(), cluster_of_one());
    }

    #[test]
    fn unknown_nodes_are_named_in_the_refusal() {
        let unknown = Outcome::Refused(Refusal::UnknownNode { id: NodeId(8) });
        let mut metadata = cluster_of_one();
        assert_eq!(metadata.apply(MetadataCommand::ActivateNode { node: NodeId(8) }), unknown);
        assert_eq!(metadata.apply(MetadataCommand::RemoveNode { node: NodeId(8) }), unknown);
    }

    fn token(metadata: &mut Metadata, node: u32) -> TokenId {
        let (node, life, request) = (NodeId(node), Life(1), metadata.ddl.tail().position.0);
        let take = DdlCommand::TakeToken { holder: TokenHolder { node, life, request } };
        match metadata.apply(MetadataCommand::Ddl(take)) {
            Outcome::Ddl(DdlAnswer::Granted { token, .. }) => token,
            other => panic!("{other:?}"),
        }
    }

    fn append(metadata: &mut Metadata, token: TokenId) -> Outcome {
        let entry = DdlEntry::new(token, EntryKind::Complete, 0, Vec::new());
        metadata.apply(MetadataCommand::Ddl(DdlCommand::Append(entry)))
    }

    #[test]
    fn a_node_is_admitted_only_with_the_schema_as_it_is() {
        let mut metadata = cluster_of_one();
        add(&mut metadata, 2);
        let stale = token(&mut metadata, 1);
        append(&mut metadata, stale);
        let admit = |token| MetadataCommand::AdmitNode { node: NodeId(2), token };
        let refused = Outcome::Refused(DdlRefusal::TokenRevoked.into());
        assert_eq!(metadata.apply(admit(stale)), refused);
        let current = token(&mut metadata, 1);
        assert_eq!(metadata.apply(admit(current)), Outcome::Applied);
        assert_eq!(metadata.ddl().applied(NodeId(2)), DdlPosition(1));
    }

    #[test]
    fn a_node_that_is_down_loses_its_token_and_returns_when_it_has_caught_up() {
        let mut metadata = cluster_of_one();
        add(&mut metadata, 2);
        metadata.apply(MetadataCommand::ActivateNode { node: NodeId(2) });
        let lost = token(&mut metadata, 2);
        let down = MetadataCommand::MarkDown { node: NodeId(2) };
        assert_eq!(metadata.apply(down.clone()), Outcome::Applied);
        assert!(matches!(metadata.apply(down), Outcome::Refused(Refusal::NotInState { .. })));
        let refused = Outcome::Refused(DdlRefusal::TokenRevoked.into());
        assert_eq!(append(&mut metadata, lost), refused);
        let current = token(&mut metadata, 1);
        append(&mut metadata, current);
        let back = |position| MetadataCommand::ReturnNode {
            node: NodeId(2),
            position: DdlPosition(position),
        };
        let behind = Outcome::Refused(DdlRefusal::Behind { node: NodeId(2) }.into());
        assert_eq!(metadata.apply(back(0)), behind);
        assert_eq!(metadata.apply(back(1)), Outcome::Applied);
        assert_eq!(metadata.node(NodeId(2)).map(|n| n.state), Some(NodeState::Active));
    }

    #[test]
    fn a_state_reads_back_from_a_snapshot_also_from_one_without_ddl() {
        let mut metadata = cluster_of_one();
        let current = token(&mut metadata, 1);
        append(&mut metadata, current);
        token(&mut metadata, 1);
        let mut json = serde_json::to_value(&metadata).unwrap();
        assert_eq!(serde_json::from_value::<Metadata>(json.clone()).unwrap(), metadata);
        json.as_object_mut().unwrap().remove("ddl");
        let old = serde_json::from_value::<Metadata>(json).unwrap();
        assert_eq!(old.ddl(), &DdlLog::default());
    }
}
