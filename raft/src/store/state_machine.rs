//! openraft's state machine around [`Metadata`].

use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster::LogIndex;
use cluster::metadata::{Decided, Metadata, MetadataCommand, Outcome};
use cluster::row_log::RowLogs;
use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, OptionalSend, StorageIOError};
use tokio::sync::watch;

use super::snapshot::{SnapshotBuilder, StoredSnapshot};
use super::{StoreError, StoreFile};
use crate::type_config::{
    Entry, LogId, Snapshot, SnapshotMeta, StorageError, StoredMembership, TypeConfig, log_index,
};

/// The state after applying everything up to `index`, 0 if nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Applied {
    pub(crate) index: LogIndex,
    /// The last index that was about anything but row logs, which may come many
    /// a millisecond.
    pub(crate) news: LogIndex,
    pub(crate) metadata: Arc<Metadata>,
}

/// What was decided, with row logs: looked at in place, never across an await.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Decided>>);

impl Shared {
    /// Looks at row logs.
    pub(crate) fn row_logs<R>(&self, look: impl FnOnce(&RowLogs) -> R) -> R {
        look(&self.lock().row_logs)
    }

    fn lock(&self) -> MutexGuard<'_, Decided> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was decided, in memory, and the snapshot that a restart begins with.
pub(crate) struct StateMachine {
    file: StoreFile,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    decided: Shared,
    news: LogIndex,
    published: watch::Sender<Applied>,
}

impl StateMachine {
    /// The state machine as its last snapshot left it; openraft then applies
    /// what was committed behind it.
    pub(crate) fn open(file: StoreFile) -> Result<Self, StoreError> {
        let (last_applied, membership, decided) = match StoredSnapshot::load(&file)? {
            Some(StoredSnapshot { meta, decided }) => {
                file.note_snapshot(meta.last_log_id.map_or(0, |id| id.index));
                (meta.last_log_id, meta.last_membership, decided)
            }
            None => Default::default(),
        };
        let published = watch::Sender::default();
        let (news, decided) = (log_index(last_applied), Shared(Arc::new(Mutex::new(decided))));
        let machine = StateMachine { file, last_applied, membership, decided, news, published };
        machine.publish();
        Ok(machine)
    }

    /// Follows what has been applied. Steps in between may be missed.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Applied> {
        self.published.subscribe()
    }

    fn publish(&self) {
        let index = log_index(self.last_applied);
        let (news, metadata) = (self.news, self.decided.lock().metadata.clone());
        self.published.send_replace(Applied { index, news, metadata });
    }

    /// What has been applied, with row logs.
    pub(crate) fn decided(&self) -> Shared {
        self.decided.clone()
    }

    fn apply_entry(&mut self, entry: Entry) -> Outcome {
        self.last_applied = Some(entry.log_id);
        if !matches!(entry.payload, EntryPayload::Normal(MetadataCommand::RowLog(_))) {
            self.news = log_index(self.last_applied);
        }
        match entry.payload {
            EntryPayload::Blank => Outcome::Applied,
            EntryPayload::Normal(command) => self.decided.lock().apply(command),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                Outcome::Applied
            }
        }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcome>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let outcomes = entries.into_iter().map(|entry| self.apply_entry(entry)).collect();
        self.publish();
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let snapshot_id = match self.last_applied {
            Some(id) => format!("{}-{}", id.leader_id, id.index),
            None => "empty".to_owned(),
        };
        let (last_log_id, last_membership) = (self.last_applied, self.membership.clone());
        let meta = SnapshotMeta { last_log_id, last_membership, snapshot_id };
        let state = StoredSnapshot { meta, decided: self.decided.lock().clone() };
        SnapshotBuilder { file: self.file.clone(), state }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let failed = |source: AnyError| -> StorageError {
            StorageIOError::write_snapshot(Some(meta.signature()), source).into()
        };
        let decided: Decided =
            serde_json::from_slice(snapshot.get_ref()).map_err(|e| failed(AnyError::new(&e)))?;
        let stored = StoredSnapshot { meta: meta.clone(), decided: decided.clone() };
        stored.save(&self.file).await.map_err(|e| failed(AnyError::new(&e)))?;
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        *self.decided.lock() = decided;
        self.news = log_index(self.last_applied);
        self.publish();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        let kept = StoredSnapshot::load(&self.file);
        let snapshot = kept.and_then(|kept| kept.map(StoredSnapshot::into_snapshot).transpose());
        snapshot.map_err(|e| StorageIOError::read_snapshot(None, &e).into())
    }
}
