//! openraft's log storage: entries, vote and what is committed.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LogState, OptionalSend, RaftLogReader, StorageIOError, Vote};
use redb::ReadableTable;

use super::file::{COMMITTED, LOG, PURGED, VOTE, put};
use super::{StoreError, StoreFile};
use crate::type_config::{Entry, LogId, RaftNodeId, StorageError, TypeConfig};

/// A batch of entries for a peer stops growing here; the frame that carries it
/// is some larger.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// The log in a [`StoreFile`]. Clones read the same log.
#[derive(Clone)]
pub(crate) struct LogStore {
    file: StoreFile,
    needs_snapshots: bool,
}

impl LogStore {
    pub(crate) fn new(file: StoreFile) -> Self {
        LogStore { file, needs_snapshots: true }
    }

    /// One that purges what no snapshot holds, as openraft's suite does.
    #[cfg(test)]
    pub(super) fn without_snapshots(file: StoreFile) -> Self {
        LogStore { file, needs_snapshots: false }
    }

    /// Entries in `range`, in order, until they have `bytes` together; at least
    /// one if there is any.
    fn entries(
        &self,
        range: (Bound<u64>, Bound<u64>),
        bytes: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.file.read(|transaction| {
            let log = transaction.open_table(LOG)?;
            let (mut entries, mut size) = (Vec::new(), 0);
            for entry in log.range::<u64>(range)? {
                let (_, json) = entry?;
                size += json.value().len();
                if size > bytes && !entries.is_empty() {
                    break;
                }
                entries.push(serde_json::from_slice(json.value())?);
            }
            Ok(entries)
        })
    }
}

/// openraft's errors want their source.
fn source(error: StoreError) -> AnyError {
    AnyError::new(&error)
}

fn read_error(error: StoreError) -> StorageError {
    StorageIOError::read_logs(source(error)).into()
}

fn write_error(error: StoreError) -> StorageError {
    StorageIOError::write_logs(source(error)).into()
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        self.entries(range, usize::MAX).map_err(read_error)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        let range = (Bound::Included(start), Bound::Excluded(end));
        self.entries(range, BATCH_BYTES).map_err(read_error)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let last_purged_log_id = self.file.value::<LogId>(PURGED).map_err(read_error)?;
        let last = self.file.read(|transaction| {
            let log = transaction.open_table(LOG)?;
            let last = log.last()?;
            Ok(last.map(|(_, json)| serde_json::from_slice::<Entry>(json.value())).transpose()?)
        });
        let last_log_id = last.map_err(read_error)?.map(|e| e.log_id).or(last_purged_log_id);
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<RaftNodeId>) -> Result<(), StorageError> {
        let vote = *vote;
        let saved = self.file.write(move |transaction| put(transaction, VOTE, &vote)).await;
        saved.map_err(|e| StorageIOError::write_vote(source(e)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<RaftNodeId>>, StorageError> {
        let vote = self.file.value(VOTE);
        vote.map_err(|e| StorageIOError::read_vote(source(e)).into())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        let saved = self.file.write(move |transaction| put(transaction, COMMITTED, &committed));
        saved.await.map_err(write_error)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        self.file.value::<Option<LogId>>(COMMITTED).map(Option::flatten).map_err(read_error)
    }

    /// All entries of a call are one commit, one sync.
    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let written = self.file.write(move |transaction| {
            let mut log = transaction.open_table(LOG)?;
            for entry in &entries {
                log.insert(entry.log_id.index, serde_json::to_vec(entry)?.as_slice())?;
            }
            Ok(())
        });
        match written.await {
            Ok(()) => {
                callback.log_io_completed(Ok(()));
                Ok(())
            }
            Err(e) => {
                callback.log_io_completed(Err(io::Error::other(e.to_string())));
                Err(write_error(e))
            }
        }
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let truncated = self.file.write(move |transaction| {
            transaction.open_table(LOG)?.retain_in(log_id.index.., |_, _| false)?;
            Ok(())
        });
        truncated.await.map_err(write_error)
    }

    /// openraft has a snapshot of the leader's installed by another task and
    /// purges what it covers without waiting for that. After a crash in between
    /// the node would have neither.
    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        if self.needs_snapshots {
            self.file.snapshotted(log_id.index).await.map_err(write_error)?;
        }
        let purged = self.file.write(move |transaction| {
            transaction.open_table(LOG)?.retain_in(..=log_id.index, |_, _| false)?;
            put(transaction, PURGED, &log_id)
        });
        purged.await.map_err(write_error)
    }
}
