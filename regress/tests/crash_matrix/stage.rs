//! A cluster on which one case after another is played.

use std::fmt;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use regress::{Moment, Stop, TestCluster, db_error, eventually};

use crate::boundary::Boundary;
use crate::fault::Fault;

const NODES: u16 = 3;
const COORDINATOR: u16 = 1;
/// For a message to come by: recovery looks every two seconds.
const MESSAGE_BOUND: Duration = Duration::from_secs(20);
/// From the moment that all nodes are back.
const RECOVERY_BOUND: Duration = Duration::from_secs(10);
/// For a killed server to accept connections again.
const RESTART_BOUND: Duration = Duration::from_secs(60);
/// How long a paused node is away: longer than recovery's interval.
const PAUSE: Duration = Duration::from_millis(2500);

/// What the client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Committed,
    Aborted,
    Nothing,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Told::Committed => "told: committed",
            Told::Aborted => "told: aborted",
            Told::Nothing => "told nothing",
        })
    }
}

pub struct Stage {
    cluster: TestCluster,
    /// For each node keys of rows that it holds.
    keys: Vec<Vec<i64>>,
}

impl Stage {
    pub fn set_up() -> anyhow::Result<Self> {
        let cluster = TestCluster::with_proxies(NODES)?;
        let session = cluster.session(COORDINATOR)?;
        session.run(
            "CREATE TABLE t (id integer PRIMARY KEY, v integer) WITH (distributed_by = 'id', num_parts = 3)",
        )?;
        let mut keys = Vec::new();
        for node in 1..=NODES {
            let rows = session.rows(&format!(
                "SELECT g FROM generate_series(1, 3000) AS g
                 WHERE EXISTS (SELECT FROM shardman.parts AS p
                               WHERE p.rel = 't'::regclass AND p.node_id = {}
                                 AND satisfies_hash_partition('t'::regclass, 3, p.pnum, g))",
                cluster.member_id(node)?
            ))?;
            let numbers = rows.into_iter().flatten().flatten().map(|text| text.parse());
            keys.push(numbers.collect::<Result<_, _>>()?);
        }
        Ok(Self { cluster, keys })
    }

    /// Plays one case and checks what comes of it.
    pub fn run(&self, number: usize, boundary: Boundary, fault: Fault) -> anyhow::Result<Told> {
        let client = self.cluster.session(COORDINATOR)?;
        let backend = client.integer("SELECT pg_backend_pid()")?;
        // The sessions to the participants exist, so that only a commit is going on.
        client.run("SELECT count(*) FROM t")?;
        let told = thread::scope(|scope| -> anyhow::Result<Told> {
            let stops = self.stops(boundary);
            let preparation = self.prepare_recovery(boundary)?;
            if boundary == Boundary::Decision {
                self.hold_decisions(true)?;
            }
            let work = self.transaction(number)?;
            let client = scope.spawn(move || tell(client.run(&work)));
            if let Some(lost) = preparation {
                lost.wait(MESSAGE_BOUND).context("before recovery")?;
                // What follows is recovery's.
                let stops = self.stops_in_recovery(boundary);
                lost.cut();
                let told = join(client)?;
                for stop in &stops {
                    stop.wait(MESSAGE_BOUND)?;
                }
                self.strike(boundary, fault, backend, &stops)?;
                return Ok(told);
            }
            for stop in &stops {
                stop.wait(MESSAGE_BOUND)?;
            }
            if boundary == Boundary::Decision {
                self.wait_until_decided(backend)?;
            }
            self.strike(boundary, fault, backend, &stops)?;
            join(client)
        });
        self.bring_back()?;
        let told = told?;
        self.check(number, told)?;
        Ok(told)
    }

    /// Finishes by hand what a failed case left, for the next one.
    pub fn clean_up(&self) -> anyhow::Result<()> {
        self.bring_back()?;
        for node in 1..=NODES {
            let session = self.cluster.session(node)?;
            for row in session.rows("SELECT gid FROM pg_prepared_xacts")? {
                let gid = row[0].clone().context("a gid is not null")?;
                session.run(&format!("ROLLBACK PREPARED '{gid}'"))?;
            }
        }
        Ok(())
    }

    /// One row on every node.
    fn transaction(&self, number: usize) -> anyhow::Result<String> {
        let key = |node: usize| self.keys[node].get(number).context("no keys are left");
        let (one, two, three) = (key(0)?, key(1)?, key(2)?);
        Ok(format!(
            "BEGIN; INSERT INTO t VALUES ({one}, {number}); INSERT INTO t VALUES ({two}, {number}); \
             INSERT INTO t VALUES ({three}, {number}); COMMIT"
        ))
    }

    fn stops(&self, boundary: Boundary) -> Vec<Stop> {
        let at = |node, part, moment| self.cluster.proxy(node).stop_at(part, moment);
        match boundary {
            Boundary::Prepare(node, moment) => vec![at(node, "PREPARE TRANSACTION", moment)],
            Boundary::Commit(node, moment) => vec![at(node, "COMMIT PREPARED 'sc_", moment)],
            Boundary::CommitOnBoth => {
                [2, 3].map(|node| at(node, "COMMIT PREPARED 'sc_", Moment::Request)).into()
            }
            _ => Vec::new(),
        }
    }

    /// The message whose loss leaves work to recovery.
    fn prepare_recovery(&self, boundary: Boundary) -> anyhow::Result<Option<Stop>> {
        let proxy = self.cluster.proxy(3);
        Ok(match boundary {
            Boundary::RecoveryRollsBack(_) => {
                Some(proxy.stop_at("PREPARE TRANSACTION", Moment::Reply))
            }
            _ if boundary.is_in_recovery() => {
                Some(proxy.stop_at("COMMIT PREPARED 'sc_", Moment::Request))
            }
            _ => None,
        })
    }

    fn stops_in_recovery(&self, boundary: Boundary) -> Vec<Stop> {
        let at = |part, moment| vec![self.cluster.proxy(3).stop_at(part, moment)];
        match boundary {
            Boundary::RecoveryLists(moment) => at("pg_prepared_xacts", moment),
            Boundary::RecoveryCommits(moment) => at("COMMIT PREPARED 'sc_", moment),
            Boundary::RecoveryRollsBack(moment) => at("ROLLBACK PREPARED", moment),
            _ => Vec::new(),
        }
    }

    fn strike(
        &self,
        boundary: Boundary,
        fault: Fault,
        backend: i64,
        stops: &[Stop],
    ) -> anyhow::Result<()> {
        let participant = boundary.participant();
        let on = |command: &str, node: u16| self.cluster.on_node(command, node).map(drop);
        let release = || stops.iter().for_each(Stop::release);
        match fault {
            Fault::KillCoordinatorBackend if boundary.is_in_recovery() => {
                // The process at work is the recovery worker.
                let worker = self.cluster.session(COORDINATOR)?.integer(
                    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'shardman recovery worker'",
                )?;
                self.cluster.kill_process(worker)?;
            }
            Fault::KillCoordinatorBackend => self.cluster.kill_process(backend)?,
            Fault::KillCoordinator => on("kill", COORDINATOR)?,
            Fault::KillParticipant => on("kill", participant)?,
            Fault::KillBoth => {
                on("kill", COORDINATOR)?;
                on("kill", participant)?;
            }
            Fault::CutConnection => stops.iter().for_each(Stop::cut),
            Fault::PauseParticipant | Fault::PauseCoordinator => {
                let node = if fault == Fault::PauseCoordinator { COORDINATOR } else { participant };
                on("pause", node)?;
                release();
                thread::sleep(PAUSE);
                on("resume", node)?;
            }
        }
        // A message that was on its way arrives although its sender may be dead.
        release();
        if boundary == Boundary::Decision
            && matches!(
                fault,
                Fault::KillParticipant | Fault::PauseParticipant | Fault::PauseCoordinator
            )
        {
            self.hold_decisions(false)?;
        }
        Ok(())
    }

    /// Every node runs and answers.
    fn bring_back(&self) -> anyhow::Result<()> {
        for node in 1..=NODES {
            self.cluster.on_node("start", node)?;
            eventually(&format!("node {node} is back"), RESTART_BOUND, || {
                self.cluster.session(node)?.run("SELECT 1").map(Some)
            })?;
        }
        self.hold_decisions(false)
    }

    /// Has node 1 wait for a standby that does not exist: its commit record is
    /// written then, and nobody, its own backend included, goes on.
    fn hold_decisions(&self, hold: bool) -> anyhow::Result<()> {
        let session = self.cluster.session(COORDINATOR)?;
        let standby = if hold { "absent" } else { "" };
        if session.rows("SHOW synchronous_standby_names")? == [[Some(standby.to_owned())]] {
            return Ok(());
        }
        session.run(&format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'"))?;
        session.run("SELECT pg_reload_conf()")?;
        eventually("the setting is in force", MESSAGE_BOUND, || {
            let now = self.cluster.session(COORDINATOR)?.rows("SHOW synchronous_standby_names")?;
            Ok((now == [[Some(standby.to_owned())]]).then_some(()))
        })
    }

    fn wait_until_decided(&self, backend: i64) -> anyhow::Result<()> {
        let session = self.cluster.session(COORDINATOR)?;
        eventually("the commit record is written", MESSAGE_BOUND, || {
            let waits = session.integer(&format!(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = {backend} AND wait_event = 'SyncRep'"
            ))?;
            Ok((waits == 1).then_some(()))
        })
    }

    fn check(&self, number: usize, told: Told) -> anyhow::Result<()> {
        eventually("nothing is prepared", RECOVERY_BOUND, || {
            Ok((self.sum("SELECT count(*) FROM pg_prepared_xacts")? == 0).then_some(()))
        })?;
        let expected: &[i64] = match told {
            Told::Committed => &[3],
            Told::Aborted => &[0],
            Told::Nothing => &[0, 3],
        };
        let mut seen = Vec::new();
        for node in 1..=NODES {
            let session = self.cluster.session(node)?;
            seen.push(session.integer(&format!("SELECT count(*) FROM t WHERE v = {number}"))?);
        }
        ensure!(seen.iter().all(|rows| *rows == seen[0]), "nodes see {seen:?} rows; {told}");
        ensure!(expected.contains(&seen[0]), "{} of 3 rows; {told}", seen[0]);
        Ok(())
    }

    /// Decisions that have done their work go.
    pub fn check_that_decisions_are_forgotten(&self) -> anyhow::Result<()> {
        eventually("no decision is kept", RECOVERY_BOUND, || {
            Ok((self.sum("SELECT count(*) FROM shardman.commit_decision")? == 0).then_some(()))
        })
    }

    fn sum(&self, count: &str) -> anyhow::Result<i64> {
        (1..=NODES).map(|node| self.cluster.session(node)?.integer(count)).sum()
    }
}

fn join(client: thread::ScopedJoinHandle<'_, Told>) -> anyhow::Result<Told> {
    client.join().map_err(|_| anyhow::anyhow!("the client panicked"))
}

/// Only an error of the server says that a transaction was rolled back, and
/// not one that says the outcome is unknown.
fn tell(outcome: anyhow::Result<()>) -> Told {
    match outcome {
        Ok(()) => Told::Committed,
        Err(error) => match db_error(&error) {
            Some(error) if error.code().code() != "08007" && error.severity() == "ERROR" => {
                Told::Aborted
            }
            _ => Told::Nothing,
        },
    }
}
