//! What the state machine has no clock for: a holder renews its token, and the
//! leader takes away what is not renewed and marks members down that are silent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use cluster::NodeId;
use cluster::metadata::{DdlCommand, Metadata, MetadataCommand, NodeState, Outcome, Token};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Member;
use super::pauses::Pauses;
use crate::error::RaftError;
use crate::event::{Announcer, Event, Level};
use crate::local::{Request, Response};
use crate::store::Applied;

/// Between two looks.
const TICK: Duration = Duration::from_millis(250);

/// What the leader has seen since it leads.
struct Watch {
    since: StdInstant,
    /// The token as it was when it last changed, and when that was.
    token: Option<(Token, StdInstant)>,
    /// When a member was last seen to be active: one that has just returned
    /// gets its time.
    active: HashMap<NodeId, StdInstant>,
}

impl Member {
    /// Looks after tokens and members until [`Member::stop`].
    pub(super) fn keep_order(self: &Arc<Self>, announcer: &Arc<Announcer>) {
        let renewing = tokio::spawn(renew(self.clone()));
        let leading = tokio::spawn(lead(self.clone(), announcer.clone()));
        let leasing = tokio::spawn(lease(self.clone()));
        let living = tokio::spawn(begin_life(self.clone(), announcer.clone()));
        let mut watchers = self.watchers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        watchers.extend([renewing, leading, leasing, living]);
    }

    fn is_down(&self) -> bool {
        let metadata = self.applied.borrow().metadata.clone();
        let own = metadata.node(self.identity.node_id);
        own.is_some_and(|own| own.state == NodeState::Down)
    }

    async fn propose(&self, command: MetadataCommand) -> Result<Outcome, RaftError> {
        let deadline = Instant::now() + self.timing.proposal;
        match self.through_leader(Request::Propose(command), deadline).await? {
            Response::Proposed { outcome, .. } => Ok(outcome),
            other => Err(RaftError::malformed(format!("{other:?}"))),
        }
    }
}

/// Renews the token that a transaction of this node holds, and gives up one
/// that nobody here wants any more.
async fn renew(member: Arc<Member>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut renewed = StdInstant::now();
    loop {
        ticks.tick().await;
        let Some(token) = member.applied.borrow().metadata.ddl().token() else { continue };
        if token.holder.node != member.identity.node_id {
            continue;
        }
        let life = member.server.life;
        let command = if token.holder.life < life {
            DdlCommand::BeginLife { node: token.holder.node, life }
        } else if !(member.server.is_wanted)(token.holder.request) {
            DdlCommand::GiveUpToken { token: token.id }
        } else if renewed.elapsed() >= member.timing.token_renewal {
            DdlCommand::RenewToken { token: token.id }
        } else {
            continue;
        };
        // Without a leader the next look tries again; if it comes too late the
        // token is lost, and the log says so when its holder wants to use it.
        if member.propose(MetadataCommand::Ddl(command)).await.is_ok() {
            renewed = StdInstant::now();
        }
    }
}

/// Tells the log of this start of the server. It may know better: whoever
/// recognised this node may have been behind.
async fn begin_life(member: Arc<Member>, announcer: Arc<Announcer>) {
    let (node, life) = (member.identity.node_id, member.server.life);
    loop {
        let deadline = Instant::now() + member.timing.proposal;
        if let Ok(Response::Confirmed { index }) =
            member.through_leader(Request::Confirm, deadline).await
        {
            let mut applied = member.applied.clone();
            // The state machine ends with Raft, and with it this task.
            let Ok(applied) = applied
                .wait_for(|applied| applied.index >= index)
                .await
                .map(|applied| applied.clone())
            else {
                return;
            };
            let known = applied.metadata.life_of(node);
            if known == Some(life) {
                return;
            }
            if known.is_some_and(|known| !(member.server.remembers)(known)) {
                let reason = RaftError::OldCopy { node };
                return announcer.send(Event::Failed(reason.to_string()));
            }
            let begin = MetadataCommand::Ddl(DdlCommand::BeginLife { node, life });
            // Looked at again: an answer may be lost, or the node not be in the
            // log yet.
            member.propose(begin).await.ok();
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Asks the leader, who asks a majority, for as long as leases are wanted. The
/// lease counts from the question on. A node that finds itself marked down, in what
/// was decided by then, gets none.
async fn lease(member: Arc<Member>) {
    loop {
        let voters = member.metrics().membership_config.membership().voter_ids().count();
        let Some(lease) = member.server.limits.lease(voters).filter(|_| voters > 0) else {
            if voters > 0 {
                (member.server.renew_lease)(None);
            }
            tokio::time::sleep(TICK).await;
            continue;
        };
        let (asked, deadline) = (StdInstant::now(), Instant::now() + lease);
        if member.confirm(deadline).await.is_ok() && !member.is_down() {
            (member.server.renew_lease)(Some(asked + lease));
        }
        tokio::time::sleep((lease / 4).max(TICK)).await;
    }
}

async fn lead(member: Arc<Member>, announcer: Arc<Announcer>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch: Option<Watch> = None;
    let mut pauses = Pauses::default();
    let mut last_look = StdInstant::now();
    loop {
        ticks.tick().await;
        let now = StdInstant::now();
        pauses.note(now, now.duration_since(last_look).saturating_sub(TICK));
        last_look = now;
        if member.check_leading().is_err() {
            watch = None;
            continue;
        }
        member.fill_places().await;
        let watch =
            watch.get_or_insert_with(|| Watch { since: now, token: None, active: HashMap::new() });
        let Applied { metadata, .. } = member.applied.borrow().clone();
        for command in watch.look(&member, &metadata, &pauses, now) {
            if let MetadataCommand::MarkDown { node } = &command {
                let message =
                    format!("node {node} has been silent for too long: it is marked down");
                announcer.log(Level::Warning, message);
            }
            // Who leads no more has nothing to say; the next leader looks itself.
            member.propose(command).await.ok();
            last_look = StdInstant::now();
        }
    }
}

impl Watch {
    fn look(
        &mut self,
        member: &Member,
        metadata: &Metadata,
        pauses: &Pauses,
        now: StdInstant,
    ) -> Vec<MetadataCommand> {
        let mut commands = Vec::new();
        let token = metadata.ddl().token();
        if self.token.map(|(seen, _)| seen) != token {
            self.token = token.map(|token| (token, now));
        }
        if let Some((Token { id, renewals, .. }, since)) = self.token
            && pauses.silence(since, now) > member.timing.token_lifetime
        {
            let expire = DdlCommand::ExpireToken { token: id, renewals };
            commands.push(MetadataCommand::Ddl(expire));
        }
        let timeout = member.server.limits.node_timeout();
        for node in metadata.nodes() {
            if node.state != NodeState::Active || node.id == member.identity.node_id {
                self.active.remove(&node.id);
                continue;
            }
            let active_since = *self.active.entry(node.id).or_insert(now);
            let heard = member.peers.last_heard(node.id).unwrap_or(active_since);
            let last = heard.max(active_since).max(self.since);
            if !timeout.is_zero() && pauses.silence(last, now) > timeout {
                commands.push(MetadataCommand::MarkDown { node: node.id });
            }
        }
        commands
    }
}
