//! The state machine: the real one, in memory, with its snapshots on disk.

use std::io::Cursor;
use std::sync::{Arc, Mutex};

use cluster::metadata::{Metadata, Outcome};
use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};

use crate::check::Ledger;
use crate::disk::Life;
use crate::runtime::{
    Entry, LogId, Simulated, Snapshot, SnapshotMeta, StorageError, StoredMembership,
};

/// What a node has applied, to be looked at from outside.
#[derive(Clone, Default)]
pub struct Applied {
    pub index: u64,
    pub metadata: Metadata,
}

pub struct Machine {
    life: Arc<Life>,
    ledger: Arc<Ledger>,
    shown: Arc<Mutex<Applied>>,
    last_applied: Option<LogId>,
    membership: StoredMembership,
}

fn snapshot(meta: SnapshotMeta, bytes: Vec<u8>) -> Snapshot {
    Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) }
}

impl Machine {
    /// From the last snapshot; what is committed behind it is applied again.
    pub fn open(life: Arc<Life>, ledger: Arc<Ledger>, shown: Arc<Mutex<Applied>>) -> Self {
        let (last_applied, membership, metadata) = match life.read(|disk| disk.snapshot.clone()) {
            Some((meta, bytes)) => (
                meta.last_log_id,
                meta.last_membership,
                serde_json::from_slice(&bytes).expect("a snapshot reads as it was written"),
            ),
            None => Default::default(),
        };
        let index = last_applied.map_or(0, |id: LogId| id.index);
        *shown.lock().expect("not poisoned") = Applied { index, metadata };
        Machine { life, ledger, shown, last_applied, membership }
    }
}

impl RaftStateMachine<Simulated> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcome>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        // A life that is over shows nothing: the next one begins with its snapshot.
        if !self.life.is_alive() {
            std::future::pending::<()>().await;
        }
        let mut shown = self.shown.lock().expect("not poisoned");
        let mut outcomes = Vec::new();
        for entry in entries {
            self.last_applied = Some(entry.log_id);
            let outcome = match &entry.payload {
                EntryPayload::Blank => Outcome::Applied,
                EntryPayload::Normal(command) => shown.metadata.apply(command.clone()),
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                    Outcome::Applied
                }
            };
            self.ledger.note(self.life.node, &entry, &outcome);
            outcomes.push(outcome);
        }
        shown.index = self.last_applied.map_or(0, |id| id.index);
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let snapshot_id =
            format!("{}-{}", self.life.node, self.last_applied.map_or(0, |id| id.index));
        let (last_log_id, last_membership) = (self.last_applied, self.membership.clone());
        let bytes =
            serde_json::to_vec(&self.shown.lock().expect("not poisoned").metadata).expect("JSON");
        let meta = SnapshotMeta { last_log_id, last_membership, snapshot_id };
        Builder { life: self.life.clone(), meta, bytes }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let bytes = snapshot.into_inner();
        let metadata = serde_json::from_slice(&bytes).expect("JSON");
        let kept = (meta.clone(), bytes);
        self.life.write(|disk| disk.snapshot = Some(kept)).await;
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        let index = meta.last_log_id.map_or(0, |id| id.index);
        *self.shown.lock().expect("not poisoned") = Applied { index, metadata };
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        let kept = self.life.read(|disk| disk.snapshot.clone());
        Ok(kept.map(|(meta, bytes)| snapshot(meta, bytes)))
    }
}

pub struct Builder {
    life: Arc<Life>,
    meta: SnapshotMeta,
    bytes: Vec<u8>,
}

impl RaftSnapshotBuilder<Simulated> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let (meta, bytes) = (self.meta.clone(), self.bytes.clone());
        // One that the leader sent meanwhile may be further on.
        self.life
            .write(|disk| match &disk.snapshot {
                Some((kept, _)) if kept.last_log_id > meta.last_log_id => {}
                _ => disk.snapshot = Some((meta, bytes)),
            })
            .await;
        Ok(snapshot(self.meta.clone(), self.bytes.clone()))
    }
}
