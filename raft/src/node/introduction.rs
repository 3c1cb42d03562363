//! A node that was started asks the others who it was, before it votes or
//! accepts anything: a data directory that was restored from an old copy has
//! forgotten votes that it gave and entries that it has acknowledged, and a
//! majority may have counted on them.
//!
//! The log knows the last life of every member's server, and the data directory
//! which lives it has had. One life that is not among them was that of the
//! directory which this is a copy of. The leader also knows how much of the log
//! the node had, which tells a copy that was made within a life.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Identity, NodeId};
use tokio::task::JoinSet;

use super::service::Surroundings;
use crate::error::RaftError;
use crate::event::{Announcer, Level};
use crate::local::{RaftState, RaftStatus};
use crate::network::{Acquaintance, Ask, Gatekeeper, Lane, Peers, Reply, ask};
use crate::store::{Owner, Recollection, StoreFile};
use crate::type_config::{StoredMembership, node_id, raft_id};

/// Between two rounds of questions.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// For one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// A node whose Raft does not run yet.
pub(super) struct Newcomer {
    pub(super) identity: Arc<Identity>,
    pub(super) peers: Arc<Peers>,
    pub(super) gatekeeper: Arc<Gatekeeper>,
    pub(super) file: StoreFile,
    recollection: Recollection,
}

impl Newcomer {
    /// Opens the store.
    pub(super) fn open(
        identity: Identity,
        surroundings: &Surroundings,
        announcer: &Arc<Announcer>,
    ) -> Result<Self, RaftError> {
        let file = StoreFile::open(&surroundings.dir, &Owner::of(&identity));
        let file = file.map_err(RaftError::storage)?;
        let recollection = file.recollect().map_err(RaftError::storage)?;
        let peers = Peers::new(
            surroundings.connector.clone(),
            &identity,
            surroundings.timing.connect,
            surroundings.server.life,
            announcer.clone(),
        );
        Ok(Newcomer {
            identity: Arc::new(identity),
            peers: Arc::new(peers),
            gatekeeper: Arc::default(),
            file,
            recollection,
        })
    }

    /// Waits until a majority of the voters, this node among them if it is one,
    /// takes it for what it is. Errors are final: `OldCopy` and `Removed`.
    pub(super) async fn be_recognised(
        &self,
        surroundings: &Surroundings,
        announcer: &Announcer,
    ) -> Result<(), RaftError> {
        let me = self.identity.node_id;
        let remembers = &surroundings.server.remembers;
        if self.recollection.life_of(me).is_some_and(|life| !remembers(life)) {
            return Err(RaftError::OldCopy { node: me });
        }
        let mut membership = self.recollection.membership.clone();
        let (mut known_by, mut is_told) = (BTreeSet::from([me]), false);
        while !is_majority(&membership, &known_by) {
            let mut asked = self.ask_all(&membership);
            while let Some(answer) = asked.join_next().await {
                let Ok((node, answer)) = answer else { continue };
                match answer {
                    Some(Ok(acquaintance)) => {
                        if !self.is_what(&acquaintance, remembers) {
                            return Err(RaftError::OldCopy { node: me });
                        }
                        known_by.insert(node);
                        if acquaintance.membership.log_id() > membership.log_id() {
                            membership = acquaintance.membership;
                        }
                    }
                    Some(Err(e @ RaftError::Removed { node })) if node == me => return Err(e),
                    Some(Err(_)) | None => {}
                }
            }
            // Everybody who answers at all is heard: the leader knows most.
            if is_majority(&membership, &known_by) {
                break;
            }
            if !std::mem::replace(&mut is_told, true) {
                let message = format!("node {me} waits until a majority knows its data directory");
                announcer.log(Level::Log, message);
            }
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
        Ok(())
    }

    /// Asks everybody else at the same time.
    #[allow(clippy::type_complexity)]
    fn ask_all(
        &self,
        membership: &StoredMembership,
    ) -> JoinSet<(NodeId, Option<Result<Acquaintance, RaftError>>)> {
        let mut asked = JoinSet::new();
        for (id, node) in membership.nodes() {
            let (node, connstr) = (node_id(*id), node.addr.clone());
            if node == self.identity.node_id {
                continue;
            }
            let (peers, identity) = (self.peers.clone(), self.identity.clone());
            asked.spawn(async move {
                let peer = (node, connstr.as_str());
                let limit = ANSWER_WITHIN;
                let asked = ask(&peers, &identity, peer, Lane::Raft, Ask::Introduce, limit);
                let answer = match tokio::time::timeout(limit, asked).await {
                    Ok(Ok(Ok(Reply::Introduced(acquaintance)))) => Some(Ok(acquaintance)),
                    Ok(Ok(Err(refusal))) => Some(Err(refusal)),
                    _ => None,
                };
                (node, answer)
            });
        }
        asked
    }

    /// Whether this data directory has had what a peer knows of it.
    fn is_what(
        &self,
        known: &Acquaintance,
        remembers: &dyn Fn(cluster::txn::Life) -> bool,
    ) -> bool {
        let has_had_life = known.life.is_none_or(remembers);
        // A leader that is none any more may have seen what was cut off since.
        let is_outdated = known.term < self.recollection.term;
        let has_log = known.matched.is_none_or(|at| at <= self.recollection.last_log);
        has_had_life && (has_log || is_outdated)
    }

    /// Serves a frame: others may have been started, too. Nothing else is served
    /// yet.
    pub(super) fn receive(&self, frame: &[u8], announcer: &Announcer) -> Reply {
        let found = &self.recollection;
        match self.gatekeeper.admit(frame, &self.identity, &found.metadata) {
            Ok((from, Ask::Introduce)) => Reply::Introduced(Acquaintance {
                life: found.life_of(from),
                matched: None,
                term: found.term,
                membership: found.membership.clone(),
            }),
            Ok(_) => Reply::Refused(RaftError::Unrecognised { node: self.identity.node_id }),
            Err(e) => {
                announcer.log_refusal(format!("refused a message of another node: {e}"));
                Reply::Refused(e)
            }
        }
    }

    /// How this node stands.
    pub(super) fn status(&self) -> RaftStatus {
        RaftStatus {
            cluster_id: Some(self.identity.cluster_id.clone()),
            node_id: Some(self.identity.node_id),
            ..RaftStatus::only(RaftState::Unrecognised)
        }
    }
}

/// Whether these are a majority of the voters, of both groups while one takes
/// the place of the other. A log without voters has not begun.
fn is_majority(membership: &StoredMembership, nodes: &BTreeSet<NodeId>) -> bool {
    membership.membership().get_joint_config().iter().all(|voters| {
        let here = nodes.iter().filter(|node| voters.contains(&raft_id(**node))).count();
        voters.is_empty() || here > voters.len() / 2
    })
}
