//! The coordinator of a transaction is lost between the phases of its commit:
//! the participants ask each other, follow who knows, and guess nothing.

use std::time::Duration;

use anyhow::Context;
use regress::{Moment, Session, TestCluster, db_error, eventually};

const BOUND: Duration = Duration::from_secs(20);

/// One row a node; the coordinator is node 1.
struct Stage {
    cluster: TestCluster,
    transaction: String,
}

impl Stage {
    fn set_up() -> anyhow::Result<Self> {
        let cluster = TestCluster::with_proxies(3)?;
        let session = cluster.session(1)?;
        session.run(
            "CREATE TABLE t (id integer PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 3)",
        )?;
        let keys = session.rows(
            "SELECT min(g) FROM generate_series(1, 300) AS g, shardman.parts AS p
             WHERE p.rel = 't'::regclass AND satisfies_hash_partition('t'::regclass, 3, p.pnum, g)
             GROUP BY p.node_id",
        )?;
        let mut transaction = String::from("BEGIN; ");
        for key in keys.iter().flatten().flatten() {
            transaction.push_str(&format!("INSERT INTO t VALUES ({key}); "));
        }
        transaction.push_str("COMMIT");
        Ok(Self { cluster, transaction })
    }

    /// The transaction on its way in a session of its own, and its end.
    fn with_client<T>(
        &self,
        during: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, anyhow::Result<()>)> {
        let session = self.cluster.session(1)?;
        std::thread::scope(|scope| {
            let client = scope.spawn(|| session.run(&self.transaction));
            let during = during();
            let told = client.join().map_err(|_| anyhow::anyhow!("the client panicked"))?;
            Ok((during?, told))
        })
    }

    /// Rows of a node's own leaves: a look at all of them needs node 1.
    fn rows_on(&self, node: u16) -> anyhow::Result<i64> {
        let session = self.cluster.session(node)?;
        let leaf = session.value(
            "SELECT min(part_name) FROM shardman.parts WHERE rel = 't'::regclass AND node_id = shardman.my_id()",
        )?;
        session.integer(&format!("SELECT count(*) FROM shardman_data.{leaf}"))
    }

    fn wait_until_finished(&self, nodes: &[u16]) -> anyhow::Result<()> {
        eventually("nothing is prepared", BOUND, || {
            let mut left = 0;
            for node in nodes {
                let count = "SELECT count(*) FROM pg_prepared_xacts";
                left += self.cluster.session(*node)?.integer(count)?;
            }
            Ok((left == 0).then_some(()))
        })
    }
}

#[test]
fn a_participant_follows_one_that_has_committed() -> anyhow::Result<()> {
    let stage = Stage::set_up()?;
    let stop = stage.cluster.proxy(3).stop_at("COMMIT PREPARED 'sc_", Moment::Request);
    let ((), told) = stage.with_client(|| {
        stop.wait(BOUND)?;
        eventually("node 2 has committed", BOUND, || Ok((stage.rows_on(2)? == 1).then_some(())))?;
        stage.cluster.on_node("kill", 1)?;
        stop.cut();
        Ok(())
    })?;
    assert!(told.is_err(), "a killed server told something");
    stage.wait_until_finished(&[2, 3])?;
    assert_eq!((stage.rows_on(2)?, stage.rows_on(3)?), (1, 1));
    Ok(())
}

#[test]
fn a_participant_follows_one_that_has_not_prepared() -> anyhow::Result<()> {
    let stage = Stage::set_up()?;
    let stop = stage.cluster.proxy(3).stop_at("PREPARE TRANSACTION", Moment::Request);
    let ((), told) = stage.with_client(|| {
        stop.wait(BOUND)?;
        stage.cluster.on_node("kill", 1)?;
        stop.cut();
        Ok(())
    })?;
    assert!(told.is_err(), "a killed server told something");
    stage.wait_until_finished(&[2, 3])?;
    assert_eq!((stage.rows_on(2)?, stage.rows_on(3)?), (0, 0));
    Ok(())
}

#[test]
fn a_coordinator_that_only_seemed_lost_hears_that_it_was_given_up() -> anyhow::Result<()> {
    let stage = Stage::set_up()?;
    let stop = stage.cluster.proxy(3).stop_at("PREPARE TRANSACTION", Moment::Request);
    let ((), told) = stage.with_client(|| {
        stop.wait(BOUND)?;
        // Node 2 has prepared, cannot ask node 1, and asks node 3.
        stage.cluster.proxy(1).refuse(true);
        stage.wait_until_finished(&[2])?;
        // Nobody is prepared now, but what node 3 promised still matters.
        stage.cluster.session(3)?.run("SELECT shardman.recover_xacts()")?;
        stop.release();
        Ok(())
    })?;
    let error = told.err().context("the transaction was given up")?;
    let error = db_error(&error).context("the server says so")?;
    assert_eq!(error.code().code(), "40001", "{error:?}");
    stage.cluster.proxy(1).refuse(false);
    stage.wait_until_finished(&[1, 2, 3])?;
    assert_eq!((stage.rows_on(1)?, stage.rows_on(2)?, stage.rows_on(3)?), (0, 0, 0));
    // What was promised is forgotten in the end.
    eventually("no promise is kept", BOUND, || {
        let count = "SELECT count(*) FROM shardman.commit_decision";
        Ok((stage.cluster.session(3)?.integer(count)? == 0).then_some(()))
    })
}

#[test]
fn what_nobody_knows_is_shown_and_left_to_the_operator() -> anyhow::Result<()> {
    let stage = Stage::set_up()?;
    let stops = [2, 3]
        .map(|node| stage.cluster.proxy(node).stop_at("COMMIT PREPARED 'sc_", Moment::Request));
    let ((), told) = stage.with_client(|| {
        stops.iter().try_for_each(|stop| stop.wait(BOUND))?;
        stage.cluster.on_node("kill", 1)?;
        stops.iter().for_each(|stop| stop.cut());
        Ok(())
    })?;
    assert!(told.is_err(), "a killed server told something");
    let two = stage.cluster.session(2)?;
    let in_doubt = |session: &Session| -> anyhow::Result<Vec<Option<String>>> {
        eventually("what is known is noted", BOUND, || {
            let rows = session.rows(
                "SELECT gid, coordinator, participants, known FROM shardman.in_doubt
                 WHERE known <> 'its coordinator is at it'",
            )?;
            Ok(rows.into_iter().next())
        })
    };
    let shown = in_doubt(&two)?;
    let gid = shown[0].clone().context("a gid")?;
    assert_eq!(shown[1].as_deref(), Some("1"));
    assert_eq!(shown[2].as_deref(), Some("{2,3}"));
    assert_eq!(
        shown[3].as_deref(),
        Some("node 1, which decides, does not answer; node 3: prepared")
    );
    in_doubt(&stage.cluster.session(3)?)?;
    assert_eq!(two.integer("SELECT shardman.recover_xacts()")?, 0);
    let refused = two.failure(&format!("SELECT shardman.resolve_in_doubt('{gid}', 'maybe')"))?;
    assert_eq!(refused.code().code(), "22023");
    let refused = two.failure("SELECT shardman.resolve_in_doubt('sc_1_2_3_4_5', 'abort')")?;
    assert_eq!(refused.code().code(), "42704");

    // Decided on one node; the other follows, and so does the coordinator.
    two.run(&format!("SELECT shardman.resolve_in_doubt('{gid}', 'commit')"))?;
    stage.wait_until_finished(&[2, 3])?;
    stage.cluster.on_node("start", 1)?;
    for node in 1..=3 {
        assert_eq!(stage.cluster.session(node)?.integer("SELECT count(*) FROM t")?, 3);
    }
    Ok(())
}

#[test]
fn an_operator_cannot_decide_against_a_node_that_knows() -> anyhow::Result<()> {
    let stage = Stage::set_up()?;
    let stop = stage.cluster.proxy(3).stop_at("COMMIT PREPARED 'sc_", Moment::Request);
    let ((), told) = stage.with_client(|| {
        stop.wait(BOUND)?;
        let three = stage.cluster.session(3)?;
        let gid = three.value("SELECT gid FROM shardman.in_doubt")?;
        let sql = format!("SELECT shardman.resolve_in_doubt('{gid}', 'abort')");
        let refused = three.failure(&sql)?;
        assert_eq!(refused.code().code(), "55000", "{refused:?}");
        stop.release();
        Ok(())
    })?;
    told?;
    stage.wait_until_finished(&[1, 2, 3])?;
    assert_eq!(stage.cluster.session(3)?.integer("SELECT count(*) FROM t")?, 3);
    Ok(())
}
