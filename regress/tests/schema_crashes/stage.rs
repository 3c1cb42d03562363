//! A cluster on which one case after another is played.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use regress::{
    Moment, PausedProcess, Session, Stop, TestCluster, db_error, eventually, key_on_node,
};

use crate::case::{Boundary, Case, Fault, Work};

const NODES: u16 = 3;
const COORDINATOR: u16 = 2;
const PARTICIPANT: u16 = 3;
/// For a message to come by.
const MESSAGE_BOUND: Duration = Duration::from_secs(20);
/// From the moment that all nodes are back.
const RECOVERY_BOUND: Duration = Duration::from_secs(10);
/// For a killed server to accept connections again.
const RESTART_BOUND: Duration = Duration::from_secs(60);
/// Longer than a token lives without renewal.
const LONG_PAUSE: Duration = Duration::from_secs(6);
const SHORT_PAUSE: Duration = Duration::from_millis(2500);

/// What the client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Committed,
    Aborted,
    Nothing,
}

pub struct Stage {
    cluster: TestCluster,
    /// A row of each node.
    keys: Vec<i64>,
}

impl Stage {
    pub fn set_up() -> anyhow::Result<Self> {
        let cluster = TestCluster::with_proxies(NODES)?;
        let session = cluster.session(1)?;
        session.run(
            "CREATE TABLE t (id integer PRIMARY KEY, v integer) WITH (distributed_by = 'id', num_parts = 3);
             INSERT INTO t SELECT i, 0 FROM generate_series(1, 100) AS i",
        )?;
        let keys = (1..=NODES).map(|node| key_on_node(&cluster, "t", node));
        let keys = keys.collect::<Result<_, _>>()?;
        Ok(Self { cluster, keys })
    }

    /// Plays one case and checks what comes of it.
    pub fn run(&self, number: usize, case: Case) -> anyhow::Result<Told> {
        let (work, boundary, fault) = case;
        let column = format!("c{number}");
        let sql = self.statements(work, &column, number);
        let told = if let Boundary::Replay(moment) = boundary {
            self.cluster.on_node("kill", PARTICIPANT)?;
            self.session(COORDINATOR)?.run(&sql)?;
            let stop = self.cluster.proxy(PARTICIPANT).stop_at("claim_schema_change", moment);
            self.cluster.on_node("start", PARTICIPANT)?;
            stop.wait(RESTART_BOUND)?;
            self.strike(fault, None, &[stop])?;
            Told::Committed
        } else {
            self.interrupt(&sql, boundary, fault)?
        };
        self.bring_back()?;
        self.check(work, &column, number, told)?;
        Ok(told)
    }

    fn statements(&self, work: Work, column: &str, number: usize) -> String {
        let alter = format!("ALTER TABLE t ADD COLUMN {column} integer");
        let keys: Vec<_> = self.keys.iter().map(i64::to_string).collect();
        match work {
            Work::SchemaOnly => alter,
            Work::WithRows => {
                let keys = keys.join(", ");
                format!(
                    "BEGIN; {alter}; UPDATE t SET v = {number} + 1 WHERE id IN ({keys}); COMMIT"
                )
            }
        }
    }

    fn interrupt(&self, sql: &str, boundary: Boundary, fault: Fault) -> anyhow::Result<Told> {
        let client = self.session(COORDINATOR)?;
        let backend = client.integer("SELECT pg_backend_pid()")?;
        // The sessions to the participants exist.
        client.run("SELECT count(*) FROM t")?;
        let before = self.last_entry(1)?;
        let (part, moment) = match boundary {
            Boundary::Marker(moment) => ("begin_ddl", moment),
            Boundary::Prepare(moment) => ("PREPARE TRANSACTION", moment),
            Boundary::Commit(moment) => ("COMMIT PREPARED", moment),
            Boundary::Accepted | Boundary::Replay(_) => ("PREPARE TRANSACTION", Moment::Reply),
        };
        let stop = self.cluster.proxy(PARTICIPANT).stop_at(part, moment);
        thread::scope(|scope| {
            let work = scope.spawn(|| tell(client.run(sql)));
            stop.wait(MESSAGE_BOUND)?;
            let paused = match boundary {
                Boundary::Accepted => Some(self.let_it_be_accepted(backend, &stop, before)?),
                _ => None,
            };
            self.strike(fault, Some(backend), &[stop])?;
            drop(paused);
            work.join().map_err(|_| anyhow::anyhow!("the client panicked"))
        })
    }

    /// Has the participant's queue meet a part that another session is
    /// committing, and checks that it waits without a word.
    pub fn meet_a_busy_part(&self) -> anyhow::Result<()> {
        let client = self.session(COORDINATOR)?;
        let there = self.session(PARTICIPANT)?;
        let queue = there.value(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'shardman schema worker'",
        )?;
        let queue = PausedProcess::stop(&queue)?;
        let stop = self.cluster.proxy(PARTICIPANT).stop_at("COMMIT PREPARED", Moment::Request);
        let pid_of = |session: &Session| session.integer("SELECT pg_backend_pid()");
        let waiting = |pid: i64| {
            eventually(&format!("process {pid} waits for a standby"), MESSAGE_BOUND, || {
                let found = there.integer(&format!(
                    "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'SyncRep'",
                ))?;
                Ok((found == 1).then_some(()))
            })
        };
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let work = scope.spawn(|| client.run("ALTER TABLE t ADD COLUMN busy integer"));
            stop.wait(MESSAGE_BOUND)?;
            let gid = there.value("SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'sd%'")?;
            // Whoever commits there from now on stands still on the way.
            there.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")?;
            there.run("SELECT pg_reload_conf()")?;
            let first = self.session(PARTICIPANT)?;
            let second = self.session(PARTICIPANT)?;
            let (first_pid, second_pid) = (pid_of(&first)?, pid_of(&second)?);
            let is_over = &is_over;
            let waits = scope.spawn(move || {
                first.run("SET synchronous_commit = on")?;
                // The checkpointer brings the setting about.
                let end = Instant::now() + MESSAGE_BOUND;
                while !is_over.load(Ordering::Relaxed) && Instant::now() < end {
                    first.run("SELECT pg_current_xact_id()")?;
                }
                anyhow::Ok(())
            });
            waiting(first_pid)?;
            let committing = scope.spawn(move || {
                second.run("SET synchronous_commit = on")?;
                second.run(&format!("COMMIT PREPARED '{gid}'"))
            });
            waiting(second_pid)?;
            is_over.store(true, Ordering::Relaxed);
            queue.resume();
            eventually("the queue has met it", MESSAGE_BOUND, || {
                Ok(self.log_of(PARTICIPANT)?.contains("is busy").then_some(()))
            })?;
            there.run("ALTER SYSTEM RESET synchronous_standby_names")?;
            there.run("SELECT pg_reload_conf()")?;
            stop.release();
            for thread in [work, waits, committing] {
                thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
            }
            anyhow::Ok(())
        })?;
        eventually("the queue goes on", MESSAGE_BOUND, || {
            let applied = there
                .integer("SELECT applied_index FROM shardman.log_position WHERE queue = 'ddl'")?;
            Ok((applied == self.last_entry(1)?).then_some(()))
        })?;
        let log = self.log_of(PARTICIPANT)?;
        ensure!(!log.contains("schema changes are not being applied"), "the queue complained");
        Ok(())
    }

    fn log_of(&self, node: u16) -> anyhow::Result<String> {
        let path = self.cluster.dir().join(format!("node{node}.log"));
        Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
    }

    /// Has the entry accepted while the coordinator's backend stands still.
    fn let_it_be_accepted(
        &self,
        backend: i64,
        stop: &Stop,
        before: i64,
    ) -> anyhow::Result<PausedProcess> {
        let session = self.session(COORDINATOR)?;
        let worker = session.value(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'shardman metadata worker'",
        )?;
        let worker = PausedProcess::stop(&worker)?;
        stop.release();
        // It has sent its request, which nobody reads, and waits.
        eventually("the entry is sent", MESSAGE_BOUND, || {
            let waits = session.integer(&format!(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = {backend} AND wait_event_type = 'Extension'
                 AND NOT EXISTS (SELECT FROM pg_locks WHERE pid = {backend} AND NOT granted)"
            ))?;
            Ok((waits == 1).then_some(()))
        })?;
        thread::sleep(Duration::from_millis(300));
        let paused = PausedProcess::stop(&backend.to_string())?;
        worker.resume();
        eventually("the entry is accepted", MESSAGE_BOUND, || {
            Ok((self.last_entry(1)? > before).then_some(()))
        })?;
        Ok(paused)
    }

    fn strike(&self, fault: Fault, backend: Option<i64>, stops: &[Stop]) -> anyhow::Result<()> {
        let on = |command: &str, node: u16| self.cluster.on_node(command, node).map(drop);
        let release = || stops.iter().for_each(Stop::release);
        let pause = |node: u16, time: Duration| -> anyhow::Result<()> {
            on("pause", node)?;
            release();
            thread::sleep(time);
            on("resume", node)
        };
        match fault {
            Fault::KillBackend => {
                self.cluster.kill_process(backend.context("nobody coordinates")?)?;
            }
            Fault::KillCoordinator => on("kill", COORDINATOR)?,
            Fault::KillParticipant => on("kill", PARTICIPANT)?,
            Fault::KillLeader => on("kill", self.leader()?)?,
            Fault::CutConnection => stops.iter().for_each(Stop::cut),
            Fault::PauseCoordinator => pause(COORDINATOR, LONG_PAUSE)?,
            Fault::PauseParticipant => pause(PARTICIPANT, SHORT_PAUSE)?,
        }
        release();
        Ok(())
    }

    fn session(&self, node: u16) -> anyhow::Result<Session> {
        self.cluster.session(node)
    }

    /// The last schema change that node knows of.
    fn last_entry(&self, node: u16) -> anyhow::Result<i64> {
        self.session(node)?.integer("SELECT (shardman.schema_log()->>'last')::bigint")
    }

    fn leader(&self) -> anyhow::Result<u16> {
        let id = self.session(1)?.integer("SELECT leader FROM shardman.local_raft_status()")?;
        self.cluster.node_with_id(id)
    }

    /// Every node runs and answers.
    fn bring_back(&self) -> anyhow::Result<()> {
        for node in 1..=NODES {
            self.cluster.on_node("start", node)?;
            eventually(&format!("node {node} is back"), RESTART_BOUND, || {
                self.session(node)?.run("SELECT 1").map(Some)
            })?;
        }
        Ok(())
    }

    fn check(&self, work: Work, column: &str, number: usize, told: Told) -> anyhow::Result<()> {
        let column_exists = format!(
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = '{column}'"
        );
        let changed = format!("SELECT count(*) FROM t WHERE v = {number} + 1");
        let outcome = eventually("all nodes agree", RECOVERY_BOUND, || {
            let mut seen = Vec::new();
            for node in 1..=NODES {
                let session = self.session(node)?;
                ensure!(
                    session.integer("SELECT count(*) FROM pg_prepared_xacts")? == 0,
                    "prepared"
                );
                let digest = session.value("SELECT shardman.schema_digest()")?;
                let position = session.integer(
                    "SELECT applied_index FROM shardman.log_position WHERE queue = 'ddl'",
                )?;
                let column = session.integer(&column_exists)?;
                seen.push((digest, position, column, session.integer(&changed)?));
            }
            ensure!(seen.iter().all(|one| *one == seen[0]), "nodes differ: {seen:?}");
            ensure!(self.last_entry(1)? == seen[0].1, "not everything is applied");
            Ok(Some((seen[0].2, seen[0].3)))
        })?;
        let rows = if work == Work::WithRows { i64::from(NODES) } else { 0 };
        let expected: &[(i64, i64)] = match told {
            Told::Committed => &[(1, rows)],
            Told::Aborted => &[(0, 0)],
            Told::Nothing => &[(1, rows), (0, 0)],
        };
        ensure!(
            expected.contains(&outcome),
            "{} columns and {} rows of the transaction, told {told:?}",
            outcome.0,
            outcome.1
        );
        Ok(())
    }
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
