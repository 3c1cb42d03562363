//! The rules that make the commit of a distributed transaction safe and cheap.

use std::time::Duration;

use anyhow::Context;
use regress::{Moment, Stop, TestCluster, eventually};

const BOUND: Duration = Duration::from_secs(30);
const MOMENTS: [Moment; 2] = [Moment::Request, Moment::Reply];

/// Three nodes with a table `t`, and a key of a row on each.
struct Stage {
    cluster: TestCluster,
    keys: [i64; 3],
}

impl Stage {
    fn set_up() -> anyhow::Result<Self> {
        let cluster = TestCluster::with_proxies(3)?;
        let session = cluster.session(1)?;
        session.run(
            "CREATE TABLE t (id integer PRIMARY KEY, v integer) WITH (distributed_by = 'id', num_parts = 3);
             INSERT INTO t SELECT g, 0 FROM generate_series(1, 60) AS g",
        )?;
        let mut keys = [0; 3];
        for (key, node) in keys.iter_mut().zip(1..) {
            *key = session.integer(&format!(
                "SELECT min(g) FROM generate_series(1, 60) AS g, shardman.parts AS p
                 WHERE p.rel = 't'::regclass AND p.node_id = {}
                   AND satisfies_hash_partition('t'::regclass, 3, p.pnum, g)",
                cluster.member_id(node)?
            ))?;
        }
        eventually("the decision to fill the table is forgotten", BOUND, || {
            let decisions = session.integer("SELECT count(*) FROM shardman.commit_decision")?;
            Ok((decisions == 0).then_some(()))
        })?;
        Ok(Self { cluster, keys })
    }

    /// The change of a row on node `node`.
    fn write(&self, node: usize) -> String {
        format!("UPDATE t SET v = v + 1 WHERE id = {}", self.keys[node - 1])
    }

    /// The value of the row on node `node`, seen from there.
    fn value(&self, node: usize) -> anyhow::Result<i64> {
        let session = self.cluster.session(node as u16)?;
        session.integer(&format!("SELECT v FROM t WHERE id = {}", self.keys[node - 1]))
    }

    /// Watches for a text in what nodes say to node `node`.
    fn watch(&self, node: u16, part: &str) -> Stop {
        self.cluster.proxy(node).stop_at(part, Moment::Request)
    }

    /// Runs a transaction of node 1 in a session of its own, `during` meanwhile.
    fn run_while(
        &self,
        transaction: &str,
        during: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<anyhow::Result<()>> {
        let session = self.cluster.session(1)?;
        std::thread::scope(|scope| {
            let client = scope.spawn(|| session.run(transaction));
            let during = during();
            let told = client.join().map_err(|_| anyhow::anyhow!("the client panicked"))?;
            during.map(|()| told)
        })
    }
}

#[test]
fn writers_prepare_at_the_same_time_and_commit_at_the_same_time() -> anyhow::Result<()> {
    let stage = Stage::set_up()?;
    let transaction = format!("BEGIN; {}; {}; COMMIT", stage.write(2), stage.write(3));
    let prepare = [2, 3].map(|node| stage.watch(node, "PREPARE TRANSACTION"));
    let commit = [2, 3].map(|node| stage.watch(node, "COMMIT PREPARED 'sc_"));
    stage.run_while(&transaction, || {
        for phase in [&prepare, &commit] {
            // Both are on their way while neither has been answered.
            phase.iter().try_for_each(|stop| stop.wait(BOUND))?;
            phase.iter().for_each(Stop::release);
        }
        Ok(())
    })??;
    assert_eq!((stage.value(2)?, stage.value(3)?), (1, 1));
    Ok(())
}

#[test]
fn one_writer_and_readers_take_no_second_phase() -> anyhow::Result<()> {
    let stage = Stage::set_up()?;
    let prepared = [2, 3].map(|node| stage.watch(node, "PREPARE"));
    let read = "SELECT sum(v) FROM t";
    stage.cluster.session(1)?.run(&format!("BEGIN; {read}; {}; {read}; COMMIT", stage.write(2)))?;
    // Nobody but this node wrote.
    stage.cluster.session(1)?.run(&format!("BEGIN; {read}; {}; {read}; COMMIT", stage.write(1)))?;
    assert!(prepared.iter().all(|stop| !stop.is_held()), "something was prepared");
    assert_eq!((stage.value(1)?, stage.value(2)?), (1, 1));
    let decisions = "SELECT count(*) FROM shardman.commit_decision";
    assert_eq!(stage.cluster.session(1)?.integer(decisions)?, 0);
    Ok(())
}

#[test]
fn a_reader_of_a_two_phase_commit_is_not_prepared() -> anyhow::Result<()> {
    let stage = Stage::set_up()?;
    let prepared = stage.watch(3, "PREPARE");
    stage.cluster.session(1)?.run(&format!(
        "BEGIN; SELECT sum(v) FROM t; {}; {}; COMMIT",
        stage.write(1),
        stage.write(2)
    ))?;
    assert!(!prepared.is_held());
    assert_eq!((stage.value(1)?, stage.value(2)?), (1, 1));
    Ok(())
}

#[test]
fn a_one_phase_commit_without_an_answer_is_of_unknown_outcome_and_not_repeated()
-> anyhow::Result<()> {
    let stage = Stage::set_up()?;
    let transaction = format!("BEGIN; SELECT 1; {}; COMMIT", stage.write(2));
    for (moment, committed) in MOMENTS.into_iter().zip([0, 1]) {
        let stop = stage.cluster.proxy(2).stop_at_exactly("COMMIT", moment);
        let told = stage.run_while(&transaction, || {
            stop.wait(BOUND)?;
            stop.cut();
            Ok(())
        })?;
        let error = told.expect_err("the answer was lost");
        let code = regress::db_error(&error).map(|error| error.code().code());
        assert_eq!(code, Some("08007"), "{error:#}");
        assert_eq!(stage.value(2)?, committed, "{moment:?}");
    }
    Ok(())
}

#[test]
fn the_end_of_a_reader_does_not_fail_what_the_writer_has_committed() -> anyhow::Result<()> {
    let stage = Stage::set_up()?;
    let lock = format!("SELECT FROM t WHERE id = {} FOR UPDATE", stage.keys[2]);
    let transaction = format!("BEGIN; {lock}; {}; COMMIT", stage.write(2));
    let stop = stage.cluster.proxy(3).stop_at_exactly("COMMIT", Moment::Reply);
    let told = stage.run_while(&transaction, || {
        stop.wait(BOUND)?;
        eventually("the writer has committed", BOUND, || Ok((stage.value(2)? == 1).then_some(())))?;
        stop.cut();
        Ok(())
    })?;
    told.context("the writer has committed")?;
    assert_eq!(stage.value(2)?, 1);
    Ok(())
}

#[test]
fn the_decision_is_on_disk_before_any_participant_commits() -> anyhow::Result<()> {
    let stage = Stage::set_up()?;
    let session = stage.cluster.session(1)?;
    // Nothing but a commit that asks for it brings WAL to disk.
    session.run("ALTER SYSTEM SET wal_writer_delay = '10s'")?;
    session.run("ALTER SYSTEM SET wal_writer_flush_after = 0")?;
    session.run("SELECT pg_reload_conf()")?;
    let transaction = format!(
        "SET synchronous_commit = off; BEGIN; {}; {}; {}; COMMIT",
        stage.write(1),
        stage.write(2),
        stage.write(3)
    );
    let stop = stage.watch(3, "COMMIT PREPARED 'sc_");
    let told = stage.run_while(&transaction, || {
        stop.wait(BOUND)?;
        eventually("node 2 has committed", BOUND, || {
            Ok((stage.cluster.session(2)?.integer("SELECT count(*) FROM pg_prepared_xacts")? == 0)
                .then_some(()))
        })?;
        stage.cluster.on_node("kill", 1)?;
        stop.cut();
        Ok(())
    })?;
    assert!(told.is_err(), "a killed server told something");
    stage.cluster.on_node("start", 1)?;
    eventually("node 3 has followed", BOUND, || {
        let session = stage.cluster.session(3)?;
        Ok((session.integer("SELECT count(*) FROM pg_prepared_xacts")? == 0).then_some(()))
    })?;
    assert_eq!((stage.value(1)?, stage.value(2)?, stage.value(3)?), (1, 1, 1));
    Ok(())
}
