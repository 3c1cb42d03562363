//! Brings a request to whoever leads, and is honest about what came of it.

use std::time::Duration;

use cluster::NodeId;
use tokio::time::{Instant, timeout_at};

use super::Member;
use crate::error::RaftError;
use crate::local::{Request, Response};
use crate::network::{Ask, Lane, PeerError, Reply, ask};
use crate::type_config::node_id;

/// Between two attempts, unless something changes sooner.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// The leader is told to be done so much sooner than the asking node gives up,
/// so that its answer arrives.
const ANSWER_ON_ITS_WAY: Duration = Duration::from_millis(200);

/// How an attempt ended that brought no response.
enum Attempt {
    /// Nothing was appended; another attempt may succeed.
    Again,
    Final(RaftError),
}

impl Member {
    /// Serves `request` if this node leads, or has the leader serve it; waits
    /// until `deadline` for a leader.
    ///
    /// A proposal is repeated only while nothing can have been appended.
    pub(super) async fn through_leader(
        &self,
        request: Request,
        deadline: Instant,
    ) -> Result<Response, RaftError> {
        let mut metrics = self.raft.metrics();
        loop {
            metrics.borrow_and_update();
            self.check_running()?;
            let attempt = match self.leader() {
                Some((node, _)) if node == self.identity.node_id => {
                    match self.lead(request.clone(), deadline).await {
                        Ok(response) => return Ok(response),
                        Err(RaftError::NotLeader) => Attempt::Again,
                        Err(e) => Attempt::Final(e),
                    }
                }
                Some(leader) => match self.forward(leader, &request, deadline).await {
                    Ok(response) => return Ok(response),
                    Err(attempt) => attempt,
                },
                None => Attempt::Again,
            };
            if let Attempt::Final(e) = attempt {
                return Err(e);
            }
            let again = deadline.min(Instant::now() + RETRY_AFTER);
            if again == deadline {
                return Err(RaftError::NoLeader);
            }
            // A change of the metrics may be the new leader; but they change
            // all the time, so a short pause comes in any case.
            tokio::time::sleep(RETRY_AFTER / 10).await;
            timeout_at(again, metrics.changed()).await.ok();
        }
    }

    /// The leader as far as this node knows, and where it is reached.
    fn leader(&self) -> Option<(NodeId, String)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let leader = metrics.current_leader?;
        let node = metrics.membership_config.membership().get_node(&leader)?;
        Some((node_id(leader), node.addr.clone()))
    }

    async fn forward(
        &self,
        (leader, connstr): (NodeId, String),
        request: &Request,
        deadline: Instant,
    ) -> Result<Response, Attempt> {
        let limit = deadline.saturating_duration_since(Instant::now());
        let leaders_limit = limit.saturating_sub(ANSWER_ON_ITS_WAY).as_millis();
        let body = Ask::Forward {
            request: Box::new(request.clone()),
            timeout_ms: u64::try_from(leaders_limit).unwrap_or(u64::MAX),
        };
        let peer = (leader, connstr.as_str());
        let asked = ask(&self.peers, &self.identity, peer, Lane::Forward, body, limit);
        // Connecting may take longer than the client waits.
        let reply = match timeout_at(deadline, asked).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(PeerError::Unreachable(_) | PeerError::Busy)) => return Err(Attempt::Again),
            Ok(Err(PeerError::Broken(_))) if is_repeatable(request) => return Err(Attempt::Again),
            Ok(Err(PeerError::Broken(_) | PeerError::TimedOut)) | Err(_) => {
                return Err(Attempt::Final(unanswered(request)));
            }
        };
        match reply {
            Ok(Reply::Forward(Ok(response))) => Ok(response),
            Ok(Reply::Forward(Err(RaftError::NotLeader))) => Err(Attempt::Again),
            Ok(Reply::Forward(Err(e))) => Err(Attempt::Final(e)),
            Ok(_) => Err(Attempt::Final(RaftError::malformed("reply of another kind"))),
            // Too large will not become smaller; everything else is a peer that
            // is not what the membership says, for now.
            Err(e @ RaftError::TooLarge { .. }) => Err(Attempt::Final(e)),
            Err(_) => Err(Attempt::Again),
        }
    }
}

/// Whether doing it twice is doing it once.
fn is_repeatable(request: &Request) -> bool {
    !matches!(request, Request::Propose(_))
}

/// What to say when the leader got the request and its answer did not come.
pub(super) fn unanswered(request: &Request) -> RaftError {
    match request {
        Request::Propose(_) => RaftError::OutcomeUnknown,
        Request::AddMember { .. } => RaftError::timeout("adding a member"),
        Request::RemoveMember { .. } => RaftError::timeout("removing a member"),
        _ => RaftError::timeout("waiting for the leader"),
    }
}
