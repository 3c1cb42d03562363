//! A node's disk: what survives it, and where it crashes.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::pending;
use std::ops::RangeBounds;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader, Vote};
use tokio::time::sleep;

use crate::runtime::{Entry, LogId, Simulated, SnapshotMeta, StorageError, millis, percent};

/// What is on it.
#[derive(Default)]
pub struct Durable {
    vote: Option<Vote<u64>>,
    committed: Option<LogId>,
    log: BTreeMap<u64, Entry>,
    purged: Option<LogId>,
    pub snapshot: Option<(SnapshotMeta, Vec<u8>)>,
}

/// One life of a node: from a start to a crash. Nothing that it does reaches
/// anybody after its end.
pub struct Life {
    pub node: u64,
    pub number: u64,
    alive: AtomicBool,
    /// So many writes from now on it crashes, if not 0.
    fuse: AtomicU64,
    content: Arc<Mutex<Durable>>,
}

impl Life {
    pub fn begin(node: u64, number: u64, content: Arc<Mutex<Durable>>) -> Arc<Self> {
        let (alive, fuse) = (AtomicBool::new(true), AtomicU64::new(0));
        Arc::new(Life { node, number, alive, fuse, content })
    }

    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    pub fn end(&self) {
        self.alive.store(false, Ordering::Relaxed);
    }

    pub fn crash_at_write(&self, number: u64) {
        self.fuse.store(number, Ordering::Relaxed);
    }

    /// Writes all or nothing; on return it survives a crash. Never returns to
    /// a life that is over.
    pub async fn write(&self, change: impl FnOnce(&mut Durable)) {
        sleep(millis(0, 5)).await;
        if !self.is_alive() {
            pending::<()>().await;
        }
        let fuse = self.fuse.load(Ordering::Relaxed);
        self.fuse.store(fuse.saturating_sub(1), Ordering::Relaxed);
        let crashes = fuse == 1;
        // The acknowledgement is lost in any case, the write perhaps.
        if !crashes || percent(50) {
            change(&mut self.content.lock().expect("not poisoned"));
        }
        if crashes {
            self.end();
            pending::<()>().await;
        }
    }

    pub fn read<T>(&self, look: impl FnOnce(&Durable) -> T) -> T {
        look(&self.content.lock().expect("not poisoned"))
    }
}

#[derive(Clone)]
pub struct Log(pub Arc<Life>);

impl RaftLogReader<Simulated> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        // What the next life has done to the disk is not for the last one.
        if !self.0.is_alive() {
            pending::<()>().await;
        }
        Ok(self.0.read(|disk| disk.log.range(range).map(|(_, entry)| entry.clone()).collect()))
    }
}

impl RaftLogStorage<Simulated> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> Result<LogState<Simulated>, StorageError> {
        Ok(self.0.read(|disk| LogState {
            last_purged_log_id: disk.purged,
            last_log_id: disk.log.values().next_back().map(|e| e.log_id).or(disk.purged),
        }))
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError> {
        let vote = *vote;
        self.0.write(|disk| disk.vote = Some(vote)).await;
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError> {
        Ok(self.0.read(|disk| disk.vote))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.0.write(|disk| disk.committed = committed).await;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.0.read(|disk| disk.committed))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<Simulated>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.0
            .write(|disk| disk.log.extend(entries.into_iter().map(|e| (e.log_id.index, e))))
            .await;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.0.write(|disk| drop(disk.log.split_off(&log_id.index))).await;
        Ok(())
    }

    /// Like our store it waits for the snapshot that makes the log superfluous.
    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let covers = |disk: &Durable| {
            disk.snapshot.as_ref().and_then(|(meta, _)| meta.last_log_id) >= Some(log_id)
        };
        while !self.0.read(covers) {
            sleep(millis(1, 3)).await;
            if !self.0.is_alive() {
                pending::<()>().await;
            }
        }
        self.0
            .write(|disk| {
                disk.log.retain(|index, _| *index > log_id.index);
                disk.purged = Some(log_id);
            })
            .await;
        Ok(())
    }
}
