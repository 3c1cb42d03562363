//! Many clients append to lists and move money over three nodes while
//! processes and servers are killed; then what they saw is checked.

mod client;
mod faults;
mod random;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use client::{ACCOUNTS, BALANCE, Client, KEYS, read_list};
use regress::history::{Anomaly, Level, Outcome, Transaction, anomalies, violations};
use regress::{TestCluster, eventually};

const NODES: u16 = 3;
const CLIENTS: u64 = 5;
const RECOVERY_BOUND: Duration = Duration::from_secs(20);
/// For some transactions to come through.
const PROGRESS_BOUND: Duration = Duration::from_secs(60);

/// What all threads share.
struct Run {
    cluster: TestCluster,
    level: Level,
    start: Instant,
    is_over: AtomicBool,
    committed: AtomicU64,
    next_value: AtomicU64,
}

impl Run {
    fn set_up(level: Level) -> anyhow::Result<Self> {
        let cluster = TestCluster::with_proxies(NODES)?;
        for node in 1..=NODES {
            let session = cluster.session(node)?;
            session.run("ALTER SYSTEM SET lock_timeout = '500ms'")?;
            session.run("SELECT pg_reload_conf()")?;
        }
        cluster.session(1)?.run(&format!(
            "CREATE TABLE list (id integer PRIMARY KEY, v bigint[]) WITH (distributed_by = 'id', num_parts = 6);
             CREATE TABLE account (id integer PRIMARY KEY, balance bigint) WITH (distributed_by = 'id', num_parts = 6);
             INSERT INTO list SELECT g, '{{}}' FROM generate_series(0, {KEYS} - 1) AS g;
             INSERT INTO account SELECT g, {BALANCE} FROM generate_series(0, {ACCOUNTS} - 1) AS g"
        ))?;
        Ok(Self {
            cluster,
            level,
            start: Instant::now(),
            is_over: AtomicBool::new(false),
            committed: AtomicU64::new(0),
            next_value: AtomicU64::new(1),
        })
    }

    /// Waits until some more transactions have committed.
    fn wait_for_progress(&self, count: u64) -> anyhow::Result<()> {
        let goal = self.committed.load(Ordering::Relaxed) + count;
        eventually("transactions come through", PROGRESS_BOUND, || {
            Ok((self.committed.load(Ordering::Relaxed) >= goal).then_some(()))
        })
    }

    /// The history of all clients while `during` goes on.
    fn history(
        &self,
        seed: u64,
        during: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<Transaction>> {
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|number| scope.spawn(move || Client::new(self, seed + number).work()))
                .collect();
            let outcome = during();
            self.is_over.store(true, Ordering::Relaxed);
            let mut history = Vec::new();
            for client in clients {
                let part = client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
                history.extend(part?);
            }
            outcome.map(|()| history)
        })
    }

    fn check(&self, history: &[Transaction]) -> anyhow::Result<Vec<Anomaly>> {
        eventually("nothing is prepared", RECOVERY_BOUND, || {
            let mut left = 0;
            for node in 1..=NODES {
                let count = "SELECT count(*) FROM pg_prepared_xacts";
                left += self.cluster.session(node)?.integer(count)?;
            }
            Ok((left == 0).then_some(()))
        })?;
        let mut last = Vec::new();
        for node in 1..=NODES {
            let session = self.cluster.session(node)?;
            let sum = session.integer("SELECT sum(balance)::bigint FROM account")?;
            ensure!(sum == ACCOUNTS * BALANCE, "node {node} sees {sum}");
            let lists = (0..KEYS).map(|key| Ok((key, read_list(&session, key)?)));
            last.push(lists.collect::<anyhow::Result<HashMap<_, _>>>()?);
        }
        ensure!(last.iter().all(|lists| *lists == last[0]), "nodes see different lists");
        let count = |outcome| history.iter().filter(|it| it.outcome == outcome).count();
        let (committed, unknown) = (count(Outcome::Committed), count(Outcome::Unknown));
        println!("{committed} of {} committed, {unknown} without an answer", history.len());
        ensure!(committed > 50, "too few transactions came through: {committed}");
        let last = last.pop().context("there are nodes")?;
        Ok(anomalies(history, &last))
    }
}

fn under_faults(level: Level, seed: u64, rounds: usize) -> anyhow::Result<()> {
    let run = Run::set_up(level)?;
    let history = run.history(seed, || faults::strike(&run, seed, rounds))?;
    let found = violations(run.check(&history)?, level);
    ensure!(found.is_empty(), "{}", explain(&found, &history));
    Ok(())
}

/// The first anomaly with its transactions.
fn explain(found: &[Anomaly], history: &[Transaction]) -> String {
    let mut text = format!("{found:?}");
    if let Some(
        Anomaly::G0(cycle)
        | Anomaly::G1c(cycle)
        | Anomaly::GSingle(cycle)
        | Anomaly::LongFork(cycle),
    ) = found.first()
    {
        for id in cycle {
            text.push_str(&format!("\n{id}: {:?}", history.get(*id)));
        }
    }
    text
}

#[test]
fn read_committed_holds_under_kills() -> anyhow::Result<()> {
    under_faults(Level::ReadCommitted, 24, 6)
}

#[test]
#[ignore = "takes minutes"]
fn read_committed_holds_under_many_kills() -> anyhow::Result<()> {
    under_faults(Level::ReadCommitted, 2400, 40)
}

#[test]
fn a_snapshot_of_the_cluster_holds_under_kills() -> anyhow::Result<()> {
    under_faults(Level::Snapshot, 42, 6)
}

#[test]
#[ignore = "takes minutes"]
fn a_snapshot_of_the_cluster_holds_under_many_kills() -> anyhow::Result<()> {
    under_faults(Level::Snapshot, 4200, 40)
}

#[test]
fn a_commit_that_was_answered_is_seen_through_every_node() -> anyhow::Result<()> {
    let run = Run::set_up(Level::ReadCommitted)?;
    let history = run.history(7, || run.wait_for_progress(500))?;
    let found = run.check(&history)?;
    let is_stale = |anomaly: &Anomaly| matches!(anomaly, Anomaly::Stale { .. });
    let stale: Vec<_> = found.iter().filter(|anomaly| is_stale(anomaly)).collect();
    ensure!(stale.is_empty(), "{stale:?}");
    let found = violations(found, Level::ReadCommitted);
    ensure!(found.is_empty(), "{}", explain(&found, &history));
    Ok(())
}
