//! Frames from peers.

use std::io::Cursor;
use std::time::Duration;

use tokio::time::Instant;

use super::Member;
use crate::error::RaftError;
use crate::event::Announcer;
use crate::local::Request;
use crate::network::{Ask, Envelope, Reply, SnapshotBody};
use crate::type_config::Snapshot;

impl Member {
    /// Serves a frame; whatever is wrong with it is in the reply, and in the
    /// server's log.
    pub(super) async fn receive(&self, frame: &[u8], announcer: &Announcer) -> Reply {
        let decoded = Envelope::decode(frame, &self.identity).and_then(|(from, ask)| {
            // Its votes are forgotten: its id is never given again.
            match self.applied.borrow().metadata.has_removed(from) {
                true => Err(RaftError::Removed { node: from }),
                false => Ok((from, ask)),
            }
        });
        match decoded {
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
        }
    }

    fn longest(&self, request: &Request) -> Duration {
        match request {
            Request::AddMember { .. } | Request::RemoveMember { .. } => self.timing.membership,
            _ => self.timing.proposal,
        }
    }
}
