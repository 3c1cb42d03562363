//! The last snapshot, on disk: what was decided and the position it is from.

use std::io::Cursor;

use cluster::metadata::Decided;
use openraft::{RaftSnapshotBuilder, StorageIOError};
use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::file::{SNAPSHOT, VALUES, put};
use super::{StoreError, StoreFile};
use crate::type_config::{Snapshot, SnapshotMeta, StorageError, TypeConfig};

/// What is kept under [`SNAPSHOT`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredSnapshot {
    pub(super) meta: SnapshotMeta,
    pub(super) decided: Decided,
}

impl StoredSnapshot {
    pub(super) fn load(file: &StoreFile) -> Result<Option<Self>, StoreError> {
        file.value(SNAPSHOT)
    }

    /// Keeps this snapshot, unless a later one is kept already: one that is
    /// being built may be overtaken by one that the leader sends, behind which
    /// the log is gone.
    pub(super) async fn save(self, file: &StoreFile) -> Result<(), StoreError> {
        let index = self.meta.last_log_id.map_or(0, |id| id.index);
        let save = file.write(move |transaction| {
            let kept = {
                let values = transaction.open_table(VALUES)?;
                let json = values.get(SNAPSHOT)?;
                json.map(|json| serde_json::from_slice::<StoredSnapshot>(json.value()))
                    .transpose()?
            };
            match kept {
                Some(kept) if kept.meta.last_log_id > self.meta.last_log_id => Ok(()),
                _ => put(transaction, SNAPSHOT, &self),
            }
        });
        save.await?;
        file.note_snapshot(index);
        Ok(())
    }

    /// As openraft hands snapshots around: bytes.
    pub(super) fn into_snapshot(self) -> Result<Snapshot, StoreError> {
        let bytes = serde_json::to_vec(&self.decided)?;
        Ok(Snapshot { meta: self.meta, snapshot: Box::new(Cursor::new(bytes)) })
    }
}

/// Writes down the state that it was made from, while the log goes on.
pub(crate) struct SnapshotBuilder {
    pub(super) file: StoreFile,
    pub(super) state: StoredSnapshot,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let signature = self.state.meta.signature();
        let built = match self.state.clone().save(&self.file).await {
            Ok(()) => self.state.clone().into_snapshot(),
            Err(e) => Err(e),
        };
        built.map_err(|e| StorageIOError::write_snapshot(Some(signature), &e).into())
    }
}
