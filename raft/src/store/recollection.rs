//! What the file remembers, before Raft runs on it.

use std::collections::BTreeMap;

use cluster::NodeId;
use cluster::metadata::{DdlCommand, Metadata, MetadataCommand};
use cluster::txn::Life;
use openraft::{EntryPayload, Vote};
use redb::ReadableTable;

use super::file::{LOG, VOTE};
use super::snapshot::StoredSnapshot;
use super::{StoreError, StoreFile};
use crate::type_config::{Entry, RaftNodeId, StoredMembership, log_index};

/// The end of what a node knew when it last wrote something down.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recollection {
    /// As of the last snapshot.
    pub(crate) metadata: Metadata,
    /// Who is in the log, committed or not.
    pub(crate) membership: StoredMembership,
    /// The end of the log.
    pub(crate) last_log: cluster::LogIndex,
    /// The last term in which this node has voted or followed.
    pub(crate) term: u64,
    lives: BTreeMap<NodeId, Life>,
}

impl Recollection {
    /// The last life of a member that the log has, committed or not: whoever
    /// said so was in it.
    pub(crate) fn life_of(&self, node: NodeId) -> Option<Life> {
        self.lives.get(&node).copied().max(self.metadata.life_of(node))
    }
}

impl StoreFile {
    /// Reads all of it.
    pub(crate) fn recollect(&self) -> Result<Recollection, StoreError> {
        let mut found = Recollection::default();
        if let Some(StoredSnapshot { meta, decided }) = StoredSnapshot::load(self)? {
            found.metadata = Metadata::clone(&decided.metadata);
            found.last_log = log_index(meta.last_log_id);
            found.membership = meta.last_membership;
        }
        found.term = self.value::<Vote<RaftNodeId>>(VOTE)?.map_or(0, |vote| vote.leader_id.term);
        self.read(|transaction| {
            for entry in transaction.open_table(LOG)?.iter()? {
                let (_, json) = entry?;
                found.take_in(serde_json::from_slice(json.value())?);
            }
            Ok(())
        })?;
        Ok(found)
    }
}

impl Recollection {
    fn take_in(&mut self, entry: Entry) {
        self.last_log = self.last_log.max(log_index(Some(entry.log_id)));
        match entry.payload {
            EntryPayload::Normal(MetadataCommand::Ddl(DdlCommand::BeginLife { node, life })) => {
                let known = self.lives.entry(node).or_insert(life);
                *known = life.max(*known);
            }
            EntryPayload::Membership(membership)
                if Some(entry.log_id) > *self.membership.log_id() =>
            {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            _ => {}
        }
    }
}
