//! The nodes, their faults, and the end at which everything is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::metadata::{DdlCommand, Metadata, MetadataCommand, NodeRecord, NodeState, Outcome};
use cluster::txn::Life as ServerLife;
use cluster::{ClusterId, NodeId, SystemIdentifier};
use openraft::{BasicNode, SnapshotPolicy};
use tokio::time::{Instant, sleep, timeout};

use crate::check::Ledger;
use crate::clients;
use crate::disk::{Durable, Life, Log};
use crate::machine::{Applied, Machine};
use crate::network::{Net, Weather, Wire};
use crate::runtime::{Raft, below, millis, percent};

/// How long a world lives before it is healed.
const LIFETIME: Duration = Duration::from_secs(30);
/// For everything to come right after that.
const RECOVERY: Duration = Duration::from_secs(60);
const CLIENTS: usize = 3;

pub struct Inner {
    pub size: u64,
    net: Arc<Net>,
    ledger: Arc<Ledger>,
    disks: BTreeMap<u64, Arc<Mutex<Durable>>>,
    shown: BTreeMap<u64, Arc<Mutex<Applied>>>,
    /// What clients were told: index and outcome.
    told: Mutex<Vec<(u64, Outcome)>>,
    crashes: AtomicU64,
}

#[derive(Clone)]
pub struct World(Arc<Inner>);

impl Deref for World {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

fn address(node: u64) -> String {
    format!("host=n{node}")
}

impl World {
    pub fn new() -> Self {
        let size = if percent(50) { 3 } else { 5 };
        let each = 1..=size;
        World(Arc::new(Inner {
            size,
            net: Arc::default(),
            ledger: Arc::default(),
            disks: each.clone().map(|node| (node, Arc::default())).collect(),
            shown: each.map(|node| (node, Arc::default())).collect(),
            told: Mutex::default(),
            crashes: AtomicU64::new(0),
        }))
    }

    /// Founds the cluster, and then things happen.
    pub async fn live(&self) {
        for node in 1..=self.size {
            self.start(node, 1).await;
        }
        let members: BTreeMap<_, _> =
            (1..=self.size).map(|node| (node, BasicNode::new(address(node)))).collect();
        self.raft(1).initialize(members).await.expect("a new cluster");
        self.found().await;
        let clients: Vec<_> =
            (0..CLIENTS).map(|_| tokio::spawn(clients::act(self.clone()))).collect();
        let end = Instant::now() + LIFETIME;
        while Instant::now() < end {
            sleep(millis(50, 1500)).await;
            self.fault().await;
        }
        clients.iter().for_each(|client| client.abort());
    }

    async fn found(&self) {
        let record = |node: u64| NodeRecord {
            id: NodeId(node as u32),
            name: format!("n{node}"),
            connstr: address(node),
            system_identifier: SystemIdentifier(node),
            state: NodeState::Active,
        };
        let cluster_id = ClusterId("c".into());
        let mut commands = vec![MetadataCommand::CreateCluster { cluster_id, first: record(1) }];
        for node in 2..=self.size {
            let NodeRecord { name, connstr, system_identifier, .. } = record(node);
            commands.push(MetadataCommand::AddNode { name, connstr, system_identifier });
            commands.push(MetadataCommand::ActivateNode { node: NodeId(node as u32) });
        }
        for command in commands {
            while self.propose(command.clone()).await.is_none() {}
        }
    }

    async fn fault(&self) {
        let node = 1 + below(self.size);
        match below(10) {
            0..=2 => {
                self.life(node).crash_at_write(1 + below(6));
            }
            3 => self.life(node).end(),
            4 => {
                let mut weather = self.weather();
                weather.island = match weather.island.is_empty() {
                    true => (1..=self.size).filter(|_| percent(40)).collect(),
                    false => BTreeSet::new(),
                };
            }
            5 => self.weather().loss = below(30),
            6 => self.weather().slow = below(40),
            7 => self.weather().doubled = below(30),
            _ => {}
        }
        // Whoever lies there gets up after a while.
        for node in 1..=self.size {
            let life = self.life(node);
            if !life.is_alive() && percent(60) {
                self.start(node, life.number + 1).await;
            }
        }
    }

    fn weather(&self) -> std::sync::MutexGuard<'_, Weather> {
        self.net.weather.lock().expect("not poisoned")
    }

    fn life(&self, node: u64) -> Arc<Life> {
        self.net.nodes.lock().expect("not poisoned")[&node].1.clone()
    }

    fn raft(&self, node: u64) -> Raft {
        self.net.nodes.lock().expect("not poisoned")[&node].0.clone()
    }

    /// The server's life, as coordinators there would name it.
    pub fn life_of(&self, node: NodeId) -> u64 {
        self.life(node.0.into()).number
    }

    async fn start(&self, node: u64, number: u64) {
        let life = Life::begin(node, number, self.disks[&node].clone());
        let config = openraft::Config {
            heartbeat_interval: 100,
            election_timeout_min: 400,
            election_timeout_max: 800,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(25),
            max_in_snapshot_log_to_keep: 8,
            replication_lag_threshold: 50,
            ..openraft::Config::default()
        };
        let wire = Wire { net: self.net.clone(), life: life.clone(), to: node };
        let machine = Machine::open(life.clone(), self.ledger.clone(), self.shown[&node].clone());
        let config = Arc::new(config.validate().expect("valid"));
        let raft = Raft::new(node, config, wire, Log(life.clone()), machine);
        let raft = raft.await.expect("a disk that can be read");
        if number > 1 {
            self.crashes.fetch_add(1, Ordering::Relaxed);
            let world = self.clone();
            let node = NodeId(node as u32);
            tokio::spawn(async move {
                let life = ServerLife(number);
                world.propose(MetadataCommand::Ddl(DdlCommand::BeginLife { node, life })).await;
            });
        }
        self.net.nodes.lock().expect("not poisoned").insert(node, (raft, life));
    }

    /// Has whoever leads append a command. `None` if the outcome is unknown.
    pub async fn propose(&self, command: MetadataCommand) -> Option<Outcome> {
        let at = 1 + below(self.size);
        let leader = self.raft(at).metrics().borrow().current_leader.unwrap_or(at);
        let (raft, life) = {
            let nodes = self.net.nodes.lock().expect("not poisoned");
            nodes[&leader].clone()
        };
        let written = async {
            match life.is_alive() {
                true => raft.client_write(command).await.ok(),
                false => None,
            }
        };
        match timeout(Duration::from_secs(2), written).await.ok().flatten() {
            // An answer that a crash has overtaken reaches nobody.
            Some(written) if life.is_alive() => {
                let told = (written.log_id.index, written.data.clone());
                self.told.lock().expect("not poisoned").push(told);
                Some(written.data)
            }
            _ => {
                sleep(millis(20, 200)).await;
                None
            }
        }
    }

    /// What some node has applied: perhaps long ago.
    pub fn applied_somewhere(&self) -> Metadata {
        let node = 1 + below(self.size);
        self.shown[&node].lock().expect("not poisoned").metadata.clone()
    }

    /// The faults end; then all nodes must agree on everything.
    pub async fn heal_and_compare(&self) -> (String, u64) {
        *self.weather() = Weather::default();
        for node in 1..=self.size {
            self.life(node).crash_at_write(0);
            if !self.life(node).is_alive() {
                self.start(node, self.life(node).number + 1).await;
            }
        }
        let node = NodeId(1);
        let last = MetadataCommand::ActivateNode { node };
        let healed = async {
            while self.propose(last.clone()).await.is_none() {}
            let goal = self.told.lock().expect("not poisoned").last().map_or(0, |told| told.0);
            while (1..=self.size).any(|node| self.applied(node).index < goal) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(RECOVERY, healed).await.expect("a healed cluster goes on");
        // What clients still had under way may be applied one after the other.
        let agreed = async {
            while (2..=self.size).any(|node| self.applied(node).index != self.applied(1).index) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(RECOVERY, agreed).await.expect("a healed cluster agrees");
        let first = self.applied(1).metadata;
        for node in 2..=self.size {
            assert!(self.applied(node).metadata == first, "node {node} differs from node 1");
        }
        for (index, outcome) in self.told.lock().expect("not poisoned").iter() {
            self.ledger.check_told(*index, outcome);
        }
        self.ledger.check_tokens();
        (self.ledger.history(), self.crashes.load(Ordering::Relaxed))
    }

    fn applied(&self, node: u64) -> Applied {
        self.shown[&node].lock().expect("not poisoned").clone()
    }
}
