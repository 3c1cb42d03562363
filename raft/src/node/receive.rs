//! Frames from peers.

use std::io::Cursor;
use std::time::Duration;

use cluster::NodeId;
use tokio::time::Instant;

use super::Member;
use crate::error::RaftError;
use crate::event::Announcer;
use crate::local::Request;
use crate::network::{Acquaintance, Ask, Reply, SnapshotBody};
use crate::type_config::{Snapshot, log_index, raft_id};

impl Member {
    /// Serves a frame; whatever is wrong with it is in the reply, and in the
    /// server's log.
    pub(super) async fn receive(&self, frame: &[u8], announcer: &Announcer) -> Reply {
        let metadata = self.applied.borrow().metadata.clone();
        match self.gatekeeper.admit(frame, &self.identity, &metadata) {
            Ok((from, Ask::Introduce)) => Reply::Introduced(self.acquaintance(from)),
            Ok((from, ask)) => {
                self.peers.heard(from);
                self.serve(ask).await.unwrap_or_else(Reply::Refused)
            }
            Err(e) => {
                announcer.log_refusal(format!("refused a message of another node: {e}"));
                Reply::Refused(e)
            }
        }
    }

    /// What this node knows of another.
    fn acquaintance(&self, node: NodeId) -> Acquaintance {
        let metrics = self.metrics();
        let progress = metrics.replication.as_ref().and_then(|all| all.get(&raft_id(node)));
        Acquaintance {
            life: self.applied.borrow().metadata.life_of(node),
            matched: progress.copied().flatten().map(|at| log_index(Some(at))),
            term: metrics.current_term,
            membership: (*metrics.membership_config).clone(),
        }
    }

    async fn serve(&self, ask: Ask) -> Result<Reply, RaftError> {
        self.check_running()?;
        match ask {
            Ask::Append(rpc) => {
                let response = self.raft.append_entries(rpc).await;
                Ok(Reply::Append(response.map_err(RaftError::stopped)?))
            }
            Ask::Vote(rpc) => {
                let response = self.raft.vote(rpc).await;
                Ok(Reply::Vote(response.map_err(RaftError::stopped)?))
            }
            Ask::Snapshot(body) => {
                let SnapshotBody { vote, meta, decided } = *body;
                let bytes = serde_json::to_vec(&decided).map_err(RaftError::malformed)?;
                let snapshot = Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) };
                let response = self.raft.install_full_snapshot(vote, snapshot).await;
                Ok(Reply::Snapshot(response.map_err(RaftError::stopped)?))
            }
            Ask::Forward { request, timeout_ms } => {
                // A node that leads no more does not pass it on: the asking
                // node finds the new leader itself.
                let longest = self.longest(&request);
                let limit = Duration::from_millis(timeout_ms).min(longest);
                Ok(Reply::Forward(self.lead(*request, Instant::now() + limit).await))
            }
            Ask::Introduce => Err(RaftError::malformed("an introduction is no question for Raft")),
        }
    }

    fn longest(&self, request: &Request) -> Duration {
        match request {
            Request::AddMember { .. } | Request::RemoveMember { .. } => self.timing.membership,
            _ => self.timing.proposal,
        }
    }
}
