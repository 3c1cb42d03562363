//! Turns what happens inside of Raft into events.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use cluster::LogIndex;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Member;
use crate::event::{Announcer, Event, Level};
use crate::network::Peers;
use crate::store::Applied;
use crate::type_config::{RaftMetrics, node_id};

impl Member {
    /// Announces what is applied, from the present state on, who leads, and
    /// the end of Raft, until [`Member::stop`].
    pub(super) fn announce(&self, announcer: &Arc<Announcer>) {
        let applied = tokio::spawn(announce_applied(self.applied.clone(), announcer.clone()));
        let metrics = watch_raft(self.raft.metrics(), self.peers.clone(), announcer.clone());
        let metrics = tokio::spawn(metrics);
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.extend([applied, metrics]);
    }
}

/// Row logs are not announced; but the index may not stay behind for long.
const INDEX_ANNOUNCED_AFTER: Duration = Duration::from_millis(500);

/// One event for each state seen; those that pass in between are skipped.
async fn announce_applied(mut applied: watch::Receiver<Applied>, announcer: Arc<Announcer>) {
    let mut announced = LogIndex(0);
    loop {
        let Applied { index, metadata, .. } = applied.borrow_and_update().clone();
        if index > announced {
            announced = index;
            announcer.send(Event::Applied { index, metadata });
        }
        if applied.changed().await.is_err() {
            // The state machine ends with Raft, which is the other's news.
            return;
        }
        let news = applied.wait_for(|applied| applied.news > announced);
        if matches!(timeout(INDEX_ANNOUNCED_AFTER, news).await, Ok(Err(_))) {
            return;
        }
    }
}

/// Logs changes of leader, and lets go of peers that are no members any more;
/// ends with the failure of Raft.
async fn watch_raft(
    mut metrics: watch::Receiver<RaftMetrics>,
    peers: Arc<Peers>,
    announcer: Arc<Announcer>,
) {
    let (mut leader, mut membership) = (None, None);
    loop {
        let (running, current, term) = {
            let metrics = metrics.borrow_and_update();
            let effective = &metrics.membership_config;
            if *effective.log_id() != membership {
                membership = *effective.log_id();
                let members = effective.nodes().map(|(id, node)| (node_id(*id), node.addr.clone()));
                peers.keep(&members.collect());
            }
            (metrics.running_state.clone(), metrics.current_leader, metrics.current_term)
        };
        if let Err(fatal) = running {
            return announcer.send(Event::Failed(fatal.to_string()));
        }
        // The interval without a leader is part of every change: not news.
        if current.is_some() && current != leader {
            leader = current;
            let leads = current.map(node_id).map(|id| id.to_string()).unwrap_or_default();
            let message = format!("node {leads} leads the metadata log in term {term}");
            announcer.log(Level::Log, message);
        }
        if metrics.changed().await.is_err() {
            return announcer.send(Event::Failed("its task ended".to_owned()));
        }
    }
}
