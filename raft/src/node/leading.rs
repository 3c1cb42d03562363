//! What only the leader does: append, and say what is committed.

use std::sync::atomic::{AtomicU64, Ordering};

use cluster::LogIndex;
use cluster::metadata::MetadataCommand;
use openraft::error::{CheckIsLeaderError, RaftError as OpenraftError};
use tokio::time::{Instant, timeout_at};

use super::Member;
use super::routing::unanswered;
use crate::error::RaftError;
use crate::local::{Request, Response};
use crate::type_config::{log_index, raft_id};

/// A command that is larger would make frames that peers refuse.
const MAX_COMMAND_BYTES: usize = 16 * 1024 * 1024;

/// What a majority was asked last, for all that had come by then.
#[derive(Default)]
pub(super) struct ReadIndex {
    arrivals: AtomicU64,
    last: tokio::sync::Mutex<Confirmation>,
}

#[derive(Default)]
struct Confirmation {
    /// Those that had come when it was asked, by number.
    covers: u64,
    index: LogIndex,
}

impl Member {
    /// Serves a request as the leader, until `deadline`. `NotLeader` means that
    /// nothing was appended.
    pub(super) async fn lead(
        &self,
        request: Request,
        deadline: Instant,
    ) -> Result<Response, RaftError> {
        let late = unanswered(&request);
        let served = async {
            match request {
                Request::Propose(command) => self.append(command).await,
                Request::AddMember { node } => self.add_member(node).await,
                Request::RemoveMember { node } => self.remove_member(node).await,
                Request::Confirm => self.read_index().await,
                _ => Err(RaftError::malformed("not a request for the leader")),
            }
        };
        timeout_at(deadline, served).await.unwrap_or(Err(late))
    }

    async fn append(&self, command: MetadataCommand) -> Result<Response, RaftError> {
        let bytes = serde_json::to_vec(&command).map_err(RaftError::malformed)?.len();
        if bytes > MAX_COMMAND_BYTES {
            let (bytes, limit) = (bytes as u64, MAX_COMMAND_BYTES as u64);
            return Err(RaftError::TooLarge { bytes, limit });
        }
        self.check_leading()?;
        match self.raft.client_write(command).await {
            Ok(written) => {
                let index = log_index(Some(written.log_id));
                Ok(Response::Proposed { index, outcome: written.data })
            }
            // openraft says "forward to the leader" also when it has appended
            // the entry and a new leader has cut it off. Another node may hold
            // it, and be elected. That this node led a moment ago makes it the
            // likelier of the two.
            Err(OpenraftError::APIError(_)) => Err(RaftError::OutcomeUnknown),
            Err(OpenraftError::Fatal(_)) => Err(RaftError::OutcomeUnknown),
        }
    }

    /// Whether this node leads and a majority has answered it lately. One that
    /// is cut off would append what it cannot commit.
    pub(super) fn check_leading(&self) -> Result<(), RaftError> {
        let metrics = self.metrics();
        let is_leader = metrics.state.is_leader()
            && metrics.current_leader == Some(raft_id(self.identity.node_id));
        let is_alone = metrics.membership_config.membership().voter_ids().count() <= 1;
        let is_heard = metrics
            .millis_since_quorum_ack
            .is_some_and(|ms| u128::from(ms) <= self.timing.election_max.as_millis());
        if is_leader && (is_alone || is_heard) { Ok(()) } else { Err(RaftError::NotLeader) }
    }

    /// The index up to which everything is committed now, after a majority has
    /// confirmed that this node leads.
    ///
    /// Whoever comes while a majority is being asked shares the next question:
    /// peers take a few at a time, and replication must not queue up behind them.
    async fn read_index(&self) -> Result<Response, RaftError> {
        let ticket = self.read_index.arrivals.fetch_add(1, Ordering::Relaxed) + 1;
        let mut last = self.read_index.last.lock().await;
        if last.covers >= ticket {
            return Ok(Response::Confirmed { index: last.index });
        }
        let covers = self.read_index.arrivals.load(Ordering::Relaxed);
        match self.raft.get_read_log_id().await {
            Ok((read, _)) => {
                *last = Confirmation { covers, index: log_index(read) };
                Ok(Response::Confirmed { index: last.index })
            }
            Err(OpenraftError::APIError(
                CheckIsLeaderError::ForwardToLeader(_) | CheckIsLeaderError::QuorumNotEnough(_),
            )) => Err(RaftError::NotLeader),
            Err(OpenraftError::Fatal(e)) => Err(RaftError::stopped(e)),
        }
    }
}
