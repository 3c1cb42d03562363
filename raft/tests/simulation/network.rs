//! Messages between nodes, and what befalls them.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::error::{
    Fatal, InstallSnapshotError, NetworkError, RPCError, RaftError, ReplicationClosed,
    StreamingError, Unreachable,
};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, RaftNetwork, RaftNetworkFactory, Vote};
use tokio::time::{sleep, timeout};

use crate::disk::Life;
use crate::runtime::{Raft, Simulated, Snapshot, millis, percent};

/// For an answer.
const PATIENCE: Duration = Duration::from_millis(800);

type CallError<E> = RPCError<u64, BasicNode, RaftError<u64, E>>;

/// Who is there, and what happens between them.
#[derive(Default)]
pub struct Net {
    pub nodes: Mutex<BTreeMap<u64, (Raft, Arc<Life>)>>,
    pub weather: Mutex<Weather>,
}

#[derive(Default)]
pub struct Weather {
    /// So many of a hundred messages, and of their answers, are lost.
    pub loss: u64,
    /// So many of a hundred are slow.
    pub slow: u64,
    /// So many of a hundred come twice.
    pub doubled: u64,
    /// Nodes that reach each other, and nobody else; all do if it is empty.
    pub island: BTreeSet<u64>,
}

impl Net {
    /// The way from one node to another; false if the message is lost.
    async fn travel(&self, from: u64, to: u64) -> bool {
        let slow = self.weather.lock().expect("not poisoned").slow;
        sleep(if percent(slow) { millis(100, 900) } else { millis(1, 15) }).await;
        let weather = self.weather.lock().expect("not poisoned");
        let is_cut = weather.island.contains(&from) != weather.island.contains(&to);
        !is_cut && !percent(weather.loss)
    }

    fn target(&self, to: u64) -> Option<Raft> {
        let nodes = self.nodes.lock().expect("not poisoned");
        nodes.get(&to).filter(|(_, life)| life.is_alive()).map(|(raft, _)| raft.clone())
    }
}

/// One life's view of it.
#[derive(Clone)]
pub struct Wire {
    pub net: Arc<Net>,
    pub life: Arc<Life>,
    pub to: u64,
}

fn lost(what: &str) -> NetworkError {
    NetworkError::new(&std::io::Error::other(what.to_owned()))
}

impl Wire {
    async fn ask<R, F: Future<Output = R>>(
        &self,
        call: impl Fn(Raft) -> F,
    ) -> Result<R, NetworkError> {
        let answered = timeout(PATIENCE, async {
            if !self.net.travel(self.life.node, self.to).await || !self.life.is_alive() {
                return std::future::pending().await;
            }
            let Some(target) = self.net.target(self.to) else { return Err(lost("nobody there")) };
            let doubled = self.net.weather.lock().expect("not poisoned").doubled;
            let mut answer = call(target.clone()).await;
            if percent(doubled) {
                sleep(millis(1, 200)).await;
                answer = call(target).await;
            }
            // A life that ended meanwhile has answered nothing.
            if self.net.target(self.to).is_none() || !self.net.travel(self.to, self.life.node).await
            {
                return std::future::pending().await;
            }
            Ok(answer)
        });
        answered.await.unwrap_or_else(|_| Err(lost("no answer")))
    }
}

impl RaftNetworkFactory<Simulated> for Wire {
    type Network = Wire;

    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> Wire {
        Wire { to: target, ..self.clone() }
    }
}

impl RaftNetwork<Simulated> for Wire {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Simulated>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, CallError<openraft::error::Infallible>> {
        let asked = self.ask(|raft| {
            let rpc = rpc.clone();
            async move { raft.append_entries(rpc).await }
        });
        asked.await?.map_err(|error| lost(&error.to_string()).into())
    }

    async fn install_snapshot(
        &mut self,
        _rpc: InstallSnapshotRequest<Simulated>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, CallError<InstallSnapshotError>> {
        Err(lost("snapshots are not sent in pieces").into())
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, CallError<openraft::error::Infallible>> {
        let asked = self.ask(|raft| {
            let rpc = rpc.clone();
            async move { raft.vote(rpc).await }
        });
        asked.await?.map_err(|error| lost(&error.to_string()).into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Simulated, Fatal<u64>>> {
        let asked = self.ask(|raft| {
            let snapshot = snapshot.clone();
            async move { raft.install_full_snapshot(vote, snapshot).await }
        });
        match asked.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Unreachable::new(&error).into()),
            Err(error) => Err(Unreachable::new(&error).into()),
        }
    }
}
