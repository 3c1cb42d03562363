//! The file itself: what tables it has, whose it is, how it is written.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cluster::{ClusterId, Identity, NodeId};
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::identity_file::remove_if_present;

const NAME: &str = "raft.redb";
/// The version of what is in the tables.
const FORMAT: u32 = 1;
/// redb's default is a gigabyte, ours is small.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Log index to entry, in JSON.
pub(super) const LOG: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("log");
/// Single values, in JSON, by the names below.
pub(super) const VALUES: TableDefinition<'static, &'static str, &'static [u8]> =
    TableDefinition::new("values");

/// For a snapshot that the leader has sent to come on disk.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(60);

const OWNER: &str = "owner";
pub(super) const VOTE: &str = "vote";
pub(super) const COMMITTED: &str = "committed";
pub(super) const PURGED: &str = "purged";
pub(super) const SNAPSHOT: &str = "snapshot";

/// Whose log a file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    format: u32,
    cluster_id: ClusterId,
    node_id: NodeId,
}

impl Owner {
    pub(crate) fn of(identity: &Identity) -> Self {
        let cluster_id = identity.cluster_id.clone();
        Owner { format: FORMAT, cluster_id, node_id: identity.node_id }
    }
}

/// What can go wrong with the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(transparent)]
    Io(#[from] io::Error),
    // Boxed: redb's is large and travels in every result.
    #[error(transparent)]
    Redb(Box<redb::Error>),
    #[error("unreadable value: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{NAME} belongs to node {} of cluster {} (format {})", .0.node_id, .0.cluster_id, .0.format)]
    WrongOwner(Owner),
    #[error("the writing task was given up")]
    GivenUp,
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                StoreError::Redb(Box::new(error.into()))
            }
        }
    )*};
}
from_redb!(
    DatabaseError,
    TransactionError,
    TableError,
    CommitError,
    SetDurabilityError,
    StorageError
);

/// A handle on the open file; clones share it.
#[derive(Clone)]
pub(crate) struct StoreFile {
    database: Arc<Database>,
    /// Up to here the log is in the snapshot on disk.
    snapshotted: Arc<watch::Sender<u64>>,
}

impl StoreFile {
    /// Opens the file of `owner` in `dir`, or creates it. Another owner's file
    /// is refused, and so is one that another process has open.
    pub(crate) fn open(dir: &Path, owner: &Owner) -> Result<Self, StoreError> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(dir.join(NAME))?;
        let transaction = database.begin_write()?;
        {
            transaction.open_table(LOG)?;
            let values = transaction.open_table(VALUES)?;
            let found =
                values.get(OWNER)?.map(|json| serde_json::from_slice::<Owner>(json.value()));
            match found.transpose()? {
                Some(found) if found != *owner => return Err(StoreError::WrongOwner(found)),
                _ => {}
            }
        }
        put(&transaction, OWNER, owner)?;
        transaction.commit()?;
        Ok(StoreFile { database: Arc::new(database), snapshotted: Arc::default() })
    }

    /// Notes that a snapshot of everything up to `index` is on disk.
    pub(super) fn note_snapshot(&self, index: u64) {
        self.snapshotted.send_if_modified(|known| {
            let is_news = index > *known;
            *known = index.max(*known);
            is_news
        });
    }

    /// Waits until one is.
    pub(super) async fn snapshotted(&self, index: u64) -> Result<(), StoreError> {
        let mut known = self.snapshotted.subscribe();
        let reached = timeout(SNAPSHOT_PATIENCE, known.wait_for(|known| *known >= index));
        match reached.await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(StoreError::GivenUp),
        }
    }

    /// Removes the file; an open handle keeps its content to itself.
    pub(crate) fn remove(dir: &Path) -> io::Result<()> {
        remove_if_present(&dir.join(NAME))
    }

    /// Commits what `change` writes; on return it survives a crash.
    ///
    /// Runs on a thread for blocking work: a slow disk must not keep the Raft
    /// thread from answering heartbeats.
    pub(super) async fn write<F>(&self, change: F) -> Result<(), StoreError>
    where
        F: FnOnce(&WriteTransaction) -> Result<(), StoreError> + Send + 'static,
    {
        let database = self.database.clone();
        let written = tokio::task::spawn_blocking(move || {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            change(&transaction)?;
            transaction.commit()?;
            Ok(())
        });
        written.await.map_err(|_| StoreError::GivenUp)?
    }

    /// Reads directly: the values are small and, but for a peer that is far
    /// behind, in memory.
    pub(super) fn read<T>(
        &self,
        look: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        look(&self.database.begin_read()?)
    }

    /// The single value of that name.
    pub(super) fn value<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        self.read(|transaction| {
            let values = transaction.open_table(VALUES)?;
            let json = values.get(name)?;
            Ok(json.map(|json| serde_json::from_slice(json.value())).transpose()?)
        })
    }
}

/// Sets the single value of that name.
pub(super) fn put(
    transaction: &WriteTransaction,
    name: &str,
    value: &impl Serialize,
) -> Result<(), StoreError> {
    let json = serde_json::to_vec(value)?;
    transaction.open_table(VALUES)?.insert(name, json.as_slice())?;
    Ok(())
}
