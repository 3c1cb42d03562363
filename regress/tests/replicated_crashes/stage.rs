//! A cluster on which one case after another is played.

use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use regress::{Session, TestCluster, db_error, eventually};

use crate::case::{Case, Fault};

const WRITER: u16 = 2;
/// For a message to come by.
const MESSAGE_BOUND: Duration = Duration::from_secs(20);
/// For killed servers to be back, and for what they have missed.
const RETURN_BOUND: Duration = Duration::from_secs(60);
/// Longer than recovery's interval.
const PAUSE: Duration = Duration::from_millis(2500);

/// What the client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Committed,
    Aborted,
    Nothing,
}

pub struct Stage {
    cluster: TestCluster,
}

impl Stage {
    pub fn set_up() -> anyhow::Result<Self> {
        let cluster = TestCluster::with_proxies(3)?;
        cluster.session(1)?.run(
            "CREATE TABLE t (id integer PRIMARY KEY, n integer NOT NULL) WITH (replicated);
             INSERT INTO t SELECT i, 0 FROM generate_series(-9, 0) AS i",
        )?;
        Ok(Self { cluster })
    }

    /// Plays one case, then writes on every node, and compares the copies.
    pub fn run(&self, number: usize, case: Case) -> anyhow::Result<Told> {
        let client = self.cluster.session(WRITER)?;
        // The sessions to the other nodes exist.
        client.run("UPDATE t SET n = n WHERE id < -8")?;
        let told = thread::scope(|scope| -> anyhow::Result<Told> {
            let proxy = self.cluster.proxy(case.step.node());
            let stop = proxy.stop_at(case.step.statement(), case.moment);
            let work = format!(
                "BEGIN; UPDATE t SET n = {number} WHERE id <= 0; INSERT INTO t VALUES ({number}, 0); COMMIT"
            );
            let client = scope.spawn(move || tell(client.run(&work)));
            stop.wait(MESSAGE_BOUND)?;
            match case.fault {
                Fault::Kill(node) => drop(self.cluster.on_node("kill", node)?),
                Fault::Cut => stop.cut(),
                Fault::Pause(node) => {
                    self.cluster.on_node("pause", node)?;
                    stop.release();
                    thread::sleep(PAUSE);
                    self.cluster.on_node("resume", node)?;
                }
            }
            stop.release();
            client.join().map_err(|_| anyhow::anyhow!("the client panicked"))
        });
        let nodes = self.bring_back()?;
        let told = told?;
        self.check(number, told, &nodes)?;
        Ok(told)
    }

    /// Every node runs, serves the table, and has nothing left to decide.
    fn bring_back(&self) -> anyhow::Result<Vec<Session>> {
        for node in 1..=3 {
            self.cluster.on_node("start", node)?;
        }
        let open = |node| {
            eventually(&format!("node {node} takes part"), RETURN_BOUND, || {
                let session = self.cluster.session(node)?;
                let all_are_active =
                    "SELECT count(*) = 3 FROM shardman.nodes WHERE state = 'active'";
                let nothing_is_prepared = "SELECT count(*) = 0 FROM pg_prepared_xacts";
                session.run("SELECT count(*) FROM t")?;
                let is_well = session.value(all_are_active)? == "t"
                    && session.value(nothing_is_prepared)? == "t";
                Ok(is_well.then_some(session))
            })
        };
        (1..=3).map(open).collect()
    }

    fn check(&self, number: usize, told: Told, nodes: &[Session]) -> anyhow::Result<()> {
        for (id, node) in (-3..).zip(nodes) {
            node.run(&format!("UPDATE t SET n = n + 1000 WHERE id = {id}"))
                .with_context(|| format!("after {told:?}"))?;
        }
        let differences = nodes[0].rows("SELECT * FROM shardman.check_replicated('t')")?;
        ensure!(differences.is_empty(), "{told:?}, and then {differences:?}");
        for node in nodes {
            let written = node.integer(&format!("SELECT count(*) FROM t WHERE id = {number}"))?;
            let updated = node.integer(&format!(
                "SELECT count(*) FROM t WHERE id <= 0 AND n IN ({number}, {number} + 1000)"
            ))?;
            let is_as_told = match (written, updated) {
                (1, 10) => told != Told::Aborted,
                (0, 0) => told != Told::Committed,
                _ => false,
            };
            ensure!(is_as_told, "{told:?}, but {written} rows inserted and {updated} changed");
        }
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
