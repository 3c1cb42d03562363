//! What the socket's clients talk to: whether this data directory is a member,
//! and how it becomes one or ceases to be.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cluster::metadata::{MetadataCommand, NodeRecord, Outcome};
use cluster::txn::Life;
use cluster::{ClusterId, Identity, SystemIdentifier};
use openraft::BasicNode;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Member;
use super::introduction::Newcomer;
use crate::config::{Config, Limits, Timing};
use crate::error::RaftError;
use crate::event::{Announcer, Event, Level};
use crate::identity_file;
use crate::local::{RaftState, RaftStatus, Request, Response};
use crate::network::{Answer, PeerConnector, Reply};
use crate::store::StoreFile;
use crate::type_config::raft_id;

/// How long a Raft that is being left may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// The parts of the configuration that are needed again and again.
pub(crate) struct Surroundings {
    pub(crate) dir: PathBuf,
    pub(crate) system_identifier: SystemIdentifier,
    pub(crate) timing: Timing,
    pub(crate) snapshot_after: u64,
    pub(crate) connector: Arc<dyn PeerConnector>,
    pub(crate) server: Arc<Server>,
}

/// What is to be known of the server around.
pub(crate) struct Server {
    pub(crate) life: Life,
    pub(crate) remembers: Box<dyn Fn(Life) -> bool + Send + Sync>,
    pub(crate) is_wanted: Box<dyn Fn(u64) -> bool + Send + Sync>,
    pub(crate) renew_lease: Box<dyn Fn(Option<std::time::Instant>) + Send + Sync>,
    pub(crate) limits: Arc<Limits>,
}

/// Where this data directory stands.
#[derive(Clone)]
enum Standing {
    /// No identity.
    Outside,
    /// Started, and not recognised by the others yet.
    Newcomer(Arc<Newcomer>),
    Member(Arc<Member>),
    /// Raft does not run, for this reason.
    Stopped(String),
    /// The cluster does not take this node of it any more, for this reason.
    Barred(ClusterId, RaftError),
}

pub(crate) struct Service {
    surroundings: Surroundings,
    announcer: Arc<Announcer>,
    standing: RwLock<Standing>,
    /// Held while joining or leaving: one at a time.
    changing: Mutex<()>,
}

impl Service {
    pub(crate) fn new(config: Config) -> Self {
        let Config {
            dir,
            system_identifier,
            timing,
            snapshot_after,
            life,
            remembers,
            is_wanted,
            renew_lease,
            limits,
            events,
            wake,
            connector,
        } = config;
        let server = Arc::new(Server { life, remembers, is_wanted, renew_lease, limits });
        Service {
            surroundings: Surroundings {
                dir,
                system_identifier,
                timing,
                snapshot_after,
                connector,
                server,
            },
            announcer: Arc::new(Announcer::new(events, wake)),
            standing: RwLock::new(Standing::Outside),
            changing: Mutex::new(()),
        }
    }

    /// Runs Raft if this data directory is a member, as soon as the others have
    /// recognised it; does not wait for that.
    pub(crate) fn start(self: &Arc<Self>) {
        let dir = &self.surroundings.dir;
        let identity = match identity_file::read(dir) {
            Ok(None) => return,
            Ok(Some(identity)) => identity,
            Err(e) => return self.stopped(format!("could not read the node's identity: {e}")),
        };
        if let Err(e) = self.check_data_directory(&identity) {
            let advice = format!("{e}; this directory was copied from another node's");
            return self.stopped(advice);
        }
        match Newcomer::open(identity, &self.surroundings, &self.announcer) {
            Ok(newcomer) => {
                let newcomer = Arc::new(newcomer);
                self.stand(Standing::Newcomer(newcomer.clone()));
                tokio::spawn(introduce(self.clone(), newcomer));
            }
            Err(e) => self.failed(e.to_string()),
        }
    }

    /// Nothing that others say can change it.
    fn barred(&self, cluster_id: ClusterId, reason: RaftError) {
        self.announcer.log(Level::Warning, format!("metadata log not started: {reason}"));
        self.announcer.send(Event::Stopped(reason.to_string()));
        self.stand(Standing::Barred(cluster_id, reason));
    }

    /// Nothing more can be done in this process.
    pub(crate) fn failed(&self, reason: String) {
        self.stand(Standing::Stopped(reason.clone()));
        self.announcer.send(Event::Failed(reason));
    }

    /// Stops Raft; the data directory remains what it is.
    pub(crate) async fn stop(&self) {
        if let Standing::Member(member) = self.standing() {
            member.stop(STOP_TIMEOUT).await;
        }
    }

    /// Answers one request.
    pub(crate) async fn handle(&self, request: Request) -> Result<Response, RaftError> {
        match request {
            Request::Found { identity, first } => self.found(identity, first).await,
            Request::Adopt { identity } => self.adopt(identity).await,
            Request::Forget { cluster_id } => self.forget(&cluster_id).await,
            Request::Leave { cluster_id } => self.leave(&cluster_id).await,
            Request::Status => Ok(Response::Status(match self.standing() {
                Standing::Outside => RaftStatus::only(RaftState::NotMember),
                Standing::Newcomer(newcomer) => newcomer.status(),
                Standing::Member(member) => member.status().await,
                Standing::Barred(_, e) => RaftStatus::only(RaftState::Barred(e.to_string())),
                Standing::Stopped(reason) => RaftStatus::only(RaftState::Stopped(reason)),
            })),
            Request::Rpc(frame) => {
                let reply = match (self.standing(), self.member()) {
                    (Standing::Newcomer(node), _) => node.receive(&frame, &self.announcer),
                    (_, Ok(member)) => member.receive(&frame, &self.announcer).await,
                    (_, Err(e)) => Reply::Refused(e),
                };
                Answer::encode(reply).map(Response::Rpc)
            }
            request => self.member()?.handle(request).await,
        }
    }

    async fn found(&self, identity: Identity, first: NodeRecord) -> Result<Response, RaftError> {
        let _changing = self.changing.lock().await;
        self.check_outside()?;
        self.check_data_directory(&identity)?;
        let ours = (identity.node_id, identity.system_identifier);
        if ours != (first.id, first.system_identifier) {
            return Err(RaftError::malformed("the first node's record is of another node"));
        }
        self.remove_log()?;
        let newcomer = Newcomer::open(identity.clone(), &self.surroundings, &self.announcer)?;
        let member = Member::start(&newcomer, &self.surroundings).await?;
        let founded = match self.create_cluster(&member, first).await {
            // The identity comes last: without it the log is nobody's.
            Ok(()) => self.write_identity(&identity),
            Err(e) => Err(e),
        };
        match founded {
            Ok(()) => {
                self.admit(member);
                Ok(Response::Done)
            }
            Err(e) => {
                member.stop(STOP_TIMEOUT).await;
                self.remove_log()?;
                Err(e)
            }
        }
    }

    async fn create_cluster(&self, member: &Member, first: NodeRecord) -> Result<(), RaftError> {
        let node = BasicNode::new(first.connstr.clone());
        let voters = BTreeMap::from([(raft_id(first.id), node)]);
        member.raft.initialize(voters).await.map_err(RaftError::storage)?;
        let cluster_id = member.identity.cluster_id.clone();
        let command = MetadataCommand::CreateCluster { cluster_id, first };
        let deadline = Instant::now() + self.surroundings.timing.proposal;
        match member.through_leader(Request::Propose(command), deadline).await? {
            Response::Proposed { outcome: Outcome::Applied, .. } => Ok(()),
            other => Err(RaftError::malformed(format!("{other:?}"))),
        }
    }

    async fn adopt(&self, identity: Identity) -> Result<Response, RaftError> {
        let _changing = self.changing.lock().await;
        self.check_outside()?;
        self.check_data_directory(&identity)?;
        self.remove_log()?;
        let newcomer = Newcomer::open(identity.clone(), &self.surroundings, &self.announcer)?;
        let member = Member::start(&newcomer, &self.surroundings).await?;
        if let Err(e) = self.write_identity(&identity) {
            member.stop(STOP_TIMEOUT).await;
            self.remove_log()?;
            return Err(e);
        }
        self.admit(member);
        Ok(Response::Done)
    }

    async fn forget(&self, cluster_id: &ClusterId) -> Result<Response, RaftError> {
        let _changing = self.changing.lock().await;
        let member = self.member_of(cluster_id)?;
        if member.is_initialized() {
            return Err(RaftError::LogReceived);
        }
        self.dismiss(&member).await
    }

    async fn leave(&self, cluster_id: &ClusterId) -> Result<Response, RaftError> {
        let _changing = self.changing.lock().await;
        if let Standing::Barred(ours, _) = self.standing() {
            check_cluster(&ours, cluster_id)?;
            return self.forget_everything();
        }
        let member = self.member_of(cluster_id)?;
        self.dismiss(&member).await
    }

    fn admit(&self, member: Arc<Member>) {
        self.announcer.send(Event::Adopted((*member.identity).clone()));
        member.announce(&self.announcer);
        member.keep_order(&self.announcer);
        self.stand(Standing::Member(member));
    }

    async fn dismiss(&self, member: &Member) -> Result<Response, RaftError> {
        // From here on nothing is accepted, not even if removing the files
        // fails: a restart finds the identity then and the node is back.
        self.stand(Standing::Outside);
        member.stop(STOP_TIMEOUT).await;
        self.forget_everything()
    }

    fn forget_everything(&self) -> Result<Response, RaftError> {
        self.stand(Standing::Outside);
        identity_file::remove(&self.surroundings.dir).map_err(RaftError::storage)?;
        self.remove_log()?;
        self.announcer.send(Event::Left);
        Ok(Response::Done)
    }

    fn stopped(&self, reason: String) {
        self.announcer.log(Level::Warning, format!("metadata log not started: {reason}"));
        self.announcer.send(Event::Stopped(reason.clone()));
        self.stand(Standing::Stopped(reason));
    }

    fn standing(&self) -> Standing {
        self.standing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stand(&self, standing: Standing) {
        *self.standing.write().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    fn member(&self) -> Result<Arc<Member>, RaftError> {
        match self.standing() {
            Standing::Outside => Err(RaftError::NotMember),
            Standing::Newcomer(newcomer) => {
                Err(RaftError::Unrecognised { node: newcomer.identity.node_id })
            }
            Standing::Member(member) => Ok(member),
            Standing::Barred(_, reason) => Err(reason),
            Standing::Stopped(reason) => Err(RaftError::Stopped { reason }),
        }
    }

    fn member_of(&self, cluster_id: &ClusterId) -> Result<Arc<Member>, RaftError> {
        let member = self.member()?;
        check_cluster(&member.identity.cluster_id, cluster_id)?;
        Ok(member)
    }

    fn check_outside(&self) -> Result<(), RaftError> {
        match self.member() {
            Ok(member) => Err(RaftError::AlreadyMember {
                cluster_id: member.identity.cluster_id.clone(),
                node_id: member.identity.node_id,
            }),
            Err(RaftError::NotMember) => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn check_data_directory(&self, identity: &Identity) -> Result<(), RaftError> {
        let (ours, theirs) = (self.surroundings.system_identifier, identity.system_identifier);
        if ours == theirs { Ok(()) } else { Err(RaftError::WrongDataDirectory { ours, theirs }) }
    }

    fn write_identity(&self, identity: &Identity) -> Result<(), RaftError> {
        identity_file::write(&self.surroundings.dir, identity).map_err(RaftError::storage)
    }

    fn remove_log(&self) -> Result<(), RaftError> {
        StoreFile::remove(&self.surroundings.dir).map_err(RaftError::storage)
    }
}

fn check_cluster(ours: &ClusterId, theirs: &ClusterId) -> Result<(), RaftError> {
    let (ours, theirs) = (ours.clone(), theirs.clone());
    if ours == theirs { Ok(()) } else { Err(RaftError::WrongCluster { ours, theirs }) }
}

/// Runs Raft once the others have recognised this node. Until then whoever wants
/// to join or leave is refused.
async fn introduce(service: Arc<Service>, newcomer: Arc<Newcomer>) {
    let recognised = newcomer.be_recognised(&service.surroundings, &service.announcer).await;
    let _changing = service.changing.lock().await;
    if let Err(reason) = recognised {
        return service.barred(newcomer.identity.cluster_id.clone(), reason);
    }
    match Member::start(&newcomer, &service.surroundings).await {
        Ok(member) => service.admit(member),
        Err(e) => service.failed(e.to_string()),
    }
}
