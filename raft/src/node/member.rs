//! A running member: openraft, its store and its peers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster::Identity;
use openraft::SnapshotPolicy;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::introduction::Newcomer;
use super::leading::ReadIndex;
use super::service::{Server, Surroundings};
use crate::config::Timing;
use crate::error::RaftError;
use crate::local::{DdlView, Request, Response, RowLogsView};
use crate::network::{Gatekeeper, Network, Peers};
use crate::store::{Applied, LogStore, Shared, StateMachine};
use crate::type_config::{Raft, RaftMetrics, raft_id};

/// Entries per message to a peer; their bytes have a limit of their own.
const ENTRIES_PER_MESSAGE: u64 = 300;
/// For a client that waits for something to happen.
const LONGEST_WATCH: Duration = Duration::from_secs(60);

pub(crate) struct Member {
    pub(crate) identity: Arc<Identity>,
    pub(crate) raft: Raft,
    pub(super) peers: Arc<Peers>,
    pub(super) gatekeeper: Arc<Gatekeeper>,
    pub(super) timing: Timing,
    pub(super) applied: watch::Receiver<Applied>,
    pub(super) decided: Shared,
    pub(super) server: Arc<Server>,
    pub(super) read_index: ReadIndex,
    /// Held by the leader while it changes the membership: openraft refuses a
    /// second change during a first.
    pub(super) membership: tokio::sync::Mutex<()>,
    /// What announces events; ended before Raft is, so that an orderly stop
    /// looks like no failure.
    pub(super) watchers: Mutex<Vec<JoinHandle<()>>>,
}

impl Member {
    /// Runs Raft on what a node has found in its store. Its state is not
    /// announced before [`Member::announce`].
    pub(super) async fn start(
        newcomer: &Newcomer,
        surroundings: &Surroundings,
    ) -> Result<Arc<Self>, RaftError> {
        let timing = surroundings.timing.clone();
        let config = openraft_config(surroundings)?;
        let Newcomer { identity, peers, gatekeeper, file, .. } = newcomer;
        let (identity, peers, file) = (identity.clone(), peers.clone(), file.clone());
        let machine = StateMachine::open(file.clone()).map_err(RaftError::storage)?;
        let (applied, decided) = (machine.subscribe(), machine.decided());

        let network =
            Network { identity: identity.clone(), peers: peers.clone(), timing: timing.clone() };
        let id = raft_id(identity.node_id);
        let raft = Raft::new(id, Arc::new(config), network, LogStore::new(file), machine).await;
        Ok(Arc::new(Member {
            identity,
            raft: raft.map_err(RaftError::storage)?,
            peers,
            gatekeeper: gatekeeper.clone(),
            timing,
            applied,
            decided,
            server: surroundings.server.clone(),
            read_index: ReadIndex::default(),
            membership: tokio::sync::Mutex::new(()),
            watchers: Mutex::default(),
        }))
    }

    /// Ends Raft, or gives up waiting for that after `limit`.
    pub(super) async fn stop(&self, limit: Duration) {
        let watchers =
            std::mem::take(&mut *self.watchers.lock().unwrap_or_else(PoisonError::into_inner));
        watchers.iter().for_each(JoinHandle::abort);
        timeout(limit, self.raft.shutdown()).await.ok();
    }

    /// Serves the requests that concern the log.
    pub(super) async fn handle(&self, request: Request) -> Result<Response, RaftError> {
        self.check_running()?;
        let now = Instant::now();
        match request {
            Request::Propose(_) => self.through_leader(request, now + self.timing.proposal).await,
            Request::AddMember { .. } | Request::RemoveMember { .. } => {
                self.through_leader(request, now + self.timing.membership).await
            }
            Request::Confirm => self.confirm(now + self.timing.proposal).await,
            Request::RowLogTails => self.row_log_tails(now + self.timing.proposal).await,
            Request::RowEntries { log, after, limit_ms } => {
                Ok(self.row_entries(log, after, limit_ms).await)
            }
            Request::RowLogs => Ok(Response::RowLogs(self.decided.row_logs(RowLogsView::of))),
            Request::Metadata => {
                let Applied { index, metadata, .. } = self.applied.borrow().clone();
                Ok(Response::Metadata { index, metadata: Arc::unwrap_or_clone(metadata) })
            }
            Request::WatchDdl { after, limit_ms } => {
                let mut applied = self.applied.clone();
                let limit = Duration::from_millis(limit_ms).min(LONGEST_WATCH);
                // Past the limit the state is what it is.
                timeout(limit, applied.wait_for(|applied| applied.news > after)).await.ok();
                let Applied { index, metadata, .. } = applied.borrow().clone();
                Ok(Response::Ddl(DdlView::of(index, &metadata)))
            }
            Request::NextDdl { after } => {
                let metadata = self.applied.borrow().metadata.clone();
                let next = metadata.ddl().after(after);
                Ok(Response::NextDdl(next.map(|(position, entry)| (position, entry.clone()))))
            }
            Request::Fates(tokens) => {
                let metadata = self.applied.borrow().metadata.clone();
                let fates = tokens.into_iter().map(|token| metadata.ddl().fate(token));
                Ok(Response::Fates(fates.collect()))
            }
            Request::AwaitMetadata { beyond, timeout_ms } => {
                let mut applied = self.applied.clone();
                let news = applied.wait_for(|applied| applied.news > beyond);
                // Without news the answer is what there is; the end of Raft is
                // seen by the next request.
                let limit = Duration::from_millis(timeout_ms);
                drop(timeout(limit, news).await);
                let Applied { index, metadata, .. } = self.applied.borrow().clone();
                Ok(Response::Metadata { index, metadata: Arc::unwrap_or_clone(metadata) })
            }
            Request::Found { .. }
            | Request::Adopt { .. }
            | Request::Forget { .. }
            | Request::Leave { .. }
            | Request::Status
            | Request::Rpc(_) => Err(RaftError::malformed("not a request for the log")),
        }
    }

    /// Learns from the leader what is committed and waits until it is applied
    /// here, and until the log knows of this start of the server.
    pub(super) async fn confirm(&self, deadline: Instant) -> Result<Response, RaftError> {
        let confirmed = self.through_leader(Request::Confirm, deadline).await?;
        let Response::Confirmed { index } = confirmed else {
            return Err(RaftError::malformed(format!("{confirmed:?}")));
        };
        let (mut applied, me) = (self.applied.clone(), self.identity.node_id);
        let life = Some(self.server.life);
        // Before that a copy of this data directory could not be told from it.
        let reached = applied.wait_for(|applied| {
            let metadata = &applied.metadata;
            let is_known = metadata.life_of(me) == life || metadata.node(me).is_none();
            applied.index >= index && is_known
        });
        match tokio::time::timeout_at(deadline, reached).await {
            Ok(Ok(_)) => Ok(confirmed),
            Ok(Err(_)) => Err(self.death()),
            Err(_) => Err(RaftError::timeout("applying the metadata log")),
        }
    }

    /// Whether the log has reached this node: it knows a membership.
    pub(super) fn is_initialized(&self) -> bool {
        let metrics = self.metrics();
        metrics.last_log_index.is_some()
            || metrics.last_applied.is_some()
            || metrics.membership_config.membership().nodes().next().is_some()
    }

    pub(super) fn metrics(&self) -> RaftMetrics {
        self.raft.metrics().borrow().clone()
    }

    pub(super) fn check_running(&self) -> Result<(), RaftError> {
        if self.peers.is_removed() {
            return Err(RaftError::Removed { node: self.identity.node_id });
        }
        let metrics = self.raft.metrics();
        let died = metrics.borrow().running_state.is_err() || metrics.has_changed().is_err();
        if died { Err(self.death()) } else { Ok(()) }
    }

    /// Why Raft does not run any more.
    pub(super) fn death(&self) -> RaftError {
        match self.metrics().running_state {
            Ok(()) => RaftError::stopped("its task ended"),
            Err(fatal) => RaftError::stopped(fatal),
        }
    }
}

fn openraft_config(surroundings: &Surroundings) -> Result<openraft::Config, RaftError> {
    let Surroundings { timing, snapshot_after, .. } = surroundings;
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let config = openraft::Config {
        cluster_name: "shardman".to_owned(),
        heartbeat_interval: millis(timing.heartbeat),
        election_timeout_min: millis(timing.election_min),
        election_timeout_max: millis(timing.election_max),
        install_snapshot_timeout: millis(timing.snapshot),
        max_payload_entries: ENTRIES_PER_MESSAGE,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(*snapshot_after),
        max_in_snapshot_log_to_keep: snapshot_after / 2,
        // Above the distance of two snapshots, or a snapshot would not bring a
        // peer near enough to go on with entries.
        replication_lag_threshold: snapshot_after.saturating_mul(2),
        ..openraft::Config::default()
    };
    config.validate().map_err(RaftError::stopped)
}
