//! Clients of all nodes read and write registers, sets and counters while nodes
//! are killed, stand still and are cut off; every answer must fit one order in
//! which each operation happened at one instant between its call and its answer.

mod client;
mod faults;
mod tables;

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use client::{Client, History};
use regress::linearizability::{Model, Operation, Verdict, check};
use regress::{TestCluster, eventually};
use tables::{KEYS, Kind};

const NODES: u16 = 3;
const CLIENTS: u64 = 6;
const RECOVERY_BOUND: Duration = Duration::from_secs(30);
/// For some operations to be answered.
const PROGRESS_BOUND: Duration = Duration::from_secs(120);

/// What all threads share.
struct Run {
    cluster: TestCluster,
    start: Instant,
    is_over: AtomicBool,
    answered: AtomicU64,
    next_value: AtomicU64,
    /// What a client was told last when something failed.
    last_failure: Mutex<String>,
}

impl Run {
    fn set_up(kind: Kind) -> anyhow::Result<Self> {
        let cluster = TestCluster::with_proxies(NODES)?;
        for node in 1..=NODES {
            let session = cluster.session(node)?;
            session.run("ALTER SYSTEM SET lock_timeout = '500ms'")?;
            session.run("SELECT pg_reload_conf()")?;
        }
        kind.create(&cluster)?;
        Ok(Self {
            cluster,
            start: Instant::now(),
            is_over: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            next_value: AtomicU64::new(1),
            last_failure: Mutex::default(),
        })
    }

    fn last_failure(&self) -> MutexGuard<'_, String> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Waits until some more operations were answered.
    fn wait_for_progress(&self, count: u64) -> anyhow::Result<()> {
        let goal = self.answered.load(Ordering::Relaxed) + count;
        let progress = eventually("operations are answered", PROGRESS_BOUND, || {
            Ok((self.answered.load(Ordering::Relaxed) >= goal).then_some(()))
        });
        progress.with_context(|| format!("the last failure: {}", self.last_failure()))
    }

    /// What all clients did while `during` went on, and what all nodes show
    /// when it is over.
    fn history(
        &self,
        seed: u64,
        during: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<History> {
        let mut history = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|number| scope.spawn(move || Client::new(self, seed + number).work()))
                .collect();
            let outcome = during();
            self.is_over.store(true, Ordering::Relaxed);
            let mut history = History::default();
            for client in clients {
                let part = client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
                history.extend(part?);
            }
            outcome.map(|()| history)
        })?;
        for node in 1..=NODES {
            // What a crash left in doubt keeps rows locked until it is finished.
            history.extend(eventually("a node shows everything", RECOVERY_BOUND, || {
                let session = self.cluster.session(node)?;
                Client::new(self, 0).read_all(&session).map(Some)
            })?);
        }
        Ok(history)
    }

    /// What each node has applied by itself comes to be the same.
    fn await_equal_copies(&self) -> anyhow::Result<()> {
        for table in ["register", "element", "counter"] {
            let rows = format!("SELECT string_agg(t::text, ' ' ORDER BY t) FROM {table} AS t");
            eventually(&format!("copies of {table} are equal"), RECOVERY_BOUND, || {
                let copy = |node| {
                    let session = self.cluster.session(node)?;
                    session.run("SET shardman.consistency_model = 'optimistic'")?;
                    session.value(&rows)
                };
                let copies = (1..=NODES).map(copy).collect::<anyhow::Result<Vec<_>>>()?;
                Ok(copies.iter().all(|copy| *copy == copies[0]).then_some(()))
            })?;
        }
        Ok(())
    }
}

/// Judges each object of a sort.
fn judge<M: Model>(name: &str, history: &[(u32, Operation<M>)]) -> anyhow::Result<()> {
    let answered = history.iter().filter(|(_, it)| it.answered.is_some()).count();
    ensure!(answered > 15, "{name}: too little happened: {answered}");
    for key in 0..KEYS {
        let part: Vec<_> =
            history.iter().filter(|(at, _)| *at == key).map(|(_, it)| it.clone()).collect();
        let unknown = part.iter().filter(|it| it.answered.is_none()).count();
        println!("{name} {key}: {} operations, {unknown} without an answer", part.len());
        match check(&part) {
            Verdict::Linearizable => {}
            Verdict::Violation(state, stuck) => {
                anyhow::bail!("{}", explain(&part, "no order fits", name, key, &state, &stuck))
            }
            Verdict::Undecided(state, stuck) => {
                anyhow::bail!("{}", explain(&part, "no order was found", name, key, &state, &stuck))
            }
        }
    }
    Ok(())
}

/// Where it went wrong, and what went on at that time.
fn explain<M: Model>(
    history: &[Operation<M>],
    what: &str,
    name: &str,
    key: u32,
    state: &impl Debug,
    stuck: &[Operation<M>],
) -> String {
    let mut text = format!("{name} {key}: {what}: {state:?}, and none of these can be next:");
    for it in stuck {
        text.push_str(&format!("\n  {it:?}"));
    }
    let from =
        stuck.iter().filter(|it| it.answered.is_some()).map(|it| it.begun).min().unwrap_or(0);
    let to = stuck.iter().filter_map(|it| it.answered).min().unwrap_or(u64::MAX);
    text.push_str("\nmeanwhile and shortly before:");
    let is_near =
        |it: &&Operation<M>| it.begun <= to && it.answered.is_none_or(|end| end + 50_000 >= from);
    for it in history.iter().filter(is_near) {
        text.push_str(&format!("\n  {it:?}"));
    }
    text
}

fn under_faults(kind: Kind, seed: u64, rounds: usize) -> anyhow::Result<()> {
    let run = Run::set_up(kind)?;
    let history = run.history(seed, || faults::strike(&run, seed, rounds))?;
    if kind == Kind::Logged {
        run.await_equal_copies()?;
    }
    judge("register", &history.registers)?;
    judge("set", &history.sets)?;
    judge("counter", &history.counters)
}

#[test]
fn rows_of_sharded_tables_are_linearizable_under_faults() -> anyhow::Result<()> {
    under_faults(Kind::Sharded, 9, 5)
}

#[test]
#[ignore = "a minute on a slow machine"]
fn tables_of_a_log_are_linearizable_under_faults() -> anyhow::Result<()> {
    under_faults(Kind::Logged, 11, 5)
}

#[test]
#[ignore = "takes minutes"]
fn tables_of_a_log_are_linearizable_under_many_faults() -> anyhow::Result<()> {
    under_faults(Kind::Logged, 1100, 40)
}

#[test]
#[ignore = "takes minutes"]
fn rows_of_sharded_tables_are_linearizable_under_many_faults() -> anyhow::Result<()> {
    under_faults(Kind::Sharded, 900, 40)
}
