//! Nodes fail: killed, paused, all of them at once. What remains works, says
//! clearly what does not, and everything is there again afterwards.

use std::time::{Duration, Instant};

use anyhow::Context;
use regress::{Session, TestCluster, eventually};

/// For a new leader, a reconnection, a recovered server.
const BOUND: Duration = Duration::from_secs(60);
const PARTS: u16 = 6;

/// A cluster of three with a table `t` of 200 rows.
fn cluster_with_rows() -> anyhow::Result<TestCluster> {
    let cluster = TestCluster::up(3)?;
    cluster.session(1)?.run(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, v text) \
         WITH (distributed_by = 'id', num_parts = {PARTS})"
    ))?;
    cluster
        .session(2)?
        .run("INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 200) g")?;
    Ok(cluster)
}

/// A value of the key whose partition is on the node with this id.
fn key_on(session: &Session, member_id: i64) -> anyhow::Result<i64> {
    session.integer(&format!(
        "SELECT min(g) FROM generate_series(1, 200) g
         WHERE EXISTS (SELECT FROM shardman.parts p
                       WHERE p.rel = 't'::regclass AND p.node_id = {member_id}
                         AND satisfies_hash_partition('t'::regclass, {PARTS}, p.pnum, g))"
    ))
}

/// The leader in the eyes of one node, and the term, if there is a leader.
fn leader(session: &Session) -> anyhow::Result<Option<(i64, i64)>> {
    let rows = session.rows("SELECT leader, term FROM shardman.raft_status")?;
    let row = rows.first().context("raft_status has no row")?;
    match (&row[0], &row[1]) {
        (Some(leader), Some(term)) => Ok(Some((leader.parse()?, term.parse()?))),
        _ => Ok(None),
    }
}

fn create_table_eventually(cluster: &TestCluster, node: u16, name: &str) -> anyhow::Result<()> {
    eventually(&format!("CREATE TABLE on node {node} works"), BOUND, || {
        let statement = format!(
            "CREATE TABLE {name} (id int PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 6)"
        );
        cluster.session(node)?.run(&statement).map(Some)
    })
}

#[test]
fn killing_the_leader_elects_another_and_survivors_go_on() -> anyhow::Result<()> {
    let cluster = cluster_with_rows()?;
    let (old_id, old_term) =
        eventually("there is a leader", BOUND, || leader(&cluster.session(1)?))?;
    let old = cluster.node_with_id(old_id)?;
    cluster.on_node("kill", old)?;

    let survivors: Vec<u16> = (1..=3).filter(|&node| node != old).collect();
    let mut seen = Vec::new();
    for &node in &survivors {
        let session = cluster.session(node)?;
        seen.push(eventually(&format!("node {node} sees a new leader"), BOUND, || {
            Ok(leader(&session)?.filter(|&(id, term)| id != old_id && term > old_term))
        })?);
    }
    assert_eq!(seen[0].0, seen[1].0, "survivors agree on the leader");

    // Rows on survivors can be read and written through either of them.
    for &through in &survivors {
        let session = cluster.session(through)?;
        for &holder in &survivors {
            let key = key_on(&session, cluster.member_id(holder)?)?;
            eventually("rows of survivors can be read", BOUND, || {
                session.value(&format!("SELECT v FROM t WHERE id = {key}")).map(Some)
            })?;
            session.run(&format!("UPDATE t SET v = 'by node {through}' WHERE id = {key}"))?;
            let value = session.value(&format!("SELECT v FROM t WHERE id = {key}"))?;
            assert_eq!(value, format!("by node {through}"));
        }
    }

    // The old leader comes back as a follower, and metadata can change again.
    cluster.on_node("start", old)?;
    let session = cluster.session(old)?;
    eventually("the old leader follows the new one", BOUND, || {
        Ok(leader(&session)?.filter(|&(_, term)| term > old_term))
    })?;
    create_table_eventually(&cluster, old, "after_return")?;
    eventually("all rows can be read", BOUND, || {
        Ok((session.integer("SELECT count(*) FROM t")? == 200).then_some(()))
    })?;
    Ok(())
}

#[test]
fn killing_all_nodes_at_once_loses_nothing() -> anyhow::Result<()> {
    let cluster = cluster_with_rows()?;
    let map = "SELECT string_agg(format('%s@%s', pnum, node_id), ' ' ORDER BY pnum)
               FROM shardman.parts WHERE rel = 't'::regclass";
    let map_before = cluster.session(1)?.value(map)?;
    std::thread::scope(|scope| {
        let cluster = &cluster;
        let kills: Vec<_> =
            (1..=3).map(|node| scope.spawn(move || cluster.on_node("kill", node))).collect();
        for kill in kills {
            kill.join().expect("the thread does not panic")?;
        }
        anyhow::Ok(())
    })?;
    for node in 1..=3 {
        assert_eq!(cluster.server_state(node)?, "stopped");
    }
    let report = cluster.dev(&["up"])?;
    assert_eq!(report["nodes"].as_array().map(Vec::len), Some(3));

    for node in 1..=3 {
        let session = cluster.session(node)?;
        assert_eq!(session.value(map)?, map_before, "the shard map on node {node}");
        eventually("all rows can be read", BOUND, || {
            Ok((session.integer("SELECT count(*) FROM t")? == 200).then_some(()))
        })?;
        assert_eq!(session.integer("SELECT shardman.my_id()")?, cluster.member_id(node)?);
    }
    create_table_eventually(&cluster, 2, "after_outage")?;
    cluster.session(3)?.run("INSERT INTO after_outage SELECT generate_series(1, 50)")?;
    assert_eq!(cluster.session(1)?.integer("SELECT count(*) FROM after_outage")?, 50);
    Ok(())
}

#[test]
fn a_node_that_is_down_is_named_in_the_error() -> anyhow::Result<()> {
    let cluster = cluster_with_rows()?;
    let lost = cluster.member_id(3)?;
    let session = cluster.session(1)?;
    let name = session.value(&format!("SELECT name FROM shardman.nodes WHERE id = {lost}"))?;
    let lost_key = key_on(&session, lost)?;
    let own_key = key_on(&session, cluster.member_id(1)?)?;
    cluster.on_node("kill", 3)?;

    // A session that had a connection to that node, and one that had none.
    for session in [session, cluster.session(2)?] {
        for statement in [
            "SELECT count(*) FROM t".to_owned(),
            format!("SELECT v FROM t WHERE id = {lost_key}"),
            format!("UPDATE t SET v = 'x' WHERE id = {lost_key}"),
            "CREATE INDEX ON t (v)".to_owned(),
        ] {
            let start = Instant::now();
            let error = session.failure(&statement)?;
            assert!(start.elapsed() < BOUND, "{statement} took {:?}", start.elapsed());
            let text = format!("{} {:?}", error.message(), error.detail());
            assert!(text.contains(&name), "the node is not named: {text}\n{statement}");
            let class = &error.code().code()[..2];
            assert!(["08", "55", "57"].contains(&class), "{statement}: {error}");
        }
        // What does not need the node works in the same session.
        session.run(&format!("UPDATE t SET v = 'still here' WHERE id = {own_key}"))?;
        assert_eq!(session.value(&format!("SELECT v FROM t WHERE id = {own_key}"))?, "still here");
    }

    cluster.on_node("start", 3)?;
    let session = cluster.session(1)?;
    eventually("all rows can be read again", BOUND, || {
        Ok((session.integer("SELECT count(*) FROM t")? == 200).then_some(()))
    })?;
    create_table_eventually(&cluster, 2, "other")
}

#[test]
fn a_statement_that_waits_for_a_paused_node_can_be_cancelled() -> anyhow::Result<()> {
    let cluster = cluster_with_rows()?;
    let session = cluster.session(1)?;
    session.run("SELECT count(*) FROM t; SET statement_timeout = '2s'")?;
    cluster.on_node("pause", 3)?;
    let start = Instant::now();
    let error = session.failure("SELECT count(*) FROM t")?;
    let took = start.elapsed();
    cluster.on_node("resume", 3)?;
    assert!(took < Duration::from_secs(30), "it took {took:?}");
    assert_eq!(error.code().code(), "57014", "{error}");
    session.run("RESET statement_timeout")?;
    eventually("the session can go on", BOUND, || {
        Ok((session.integer("SELECT count(*) FROM t")? == 200).then_some(()))
    })?;
    Ok(())
}

#[test]
fn stopping_and_starting_one_node_is_survived_by_open_sessions() -> anyhow::Result<()> {
    let cluster = cluster_with_rows()?;
    let session = cluster.session(1)?;
    assert_eq!(session.integer("SELECT count(*) FROM t")?, 200);
    cluster.on_node("stop", 2)?;
    cluster.on_node("start", 2)?;
    eventually("the old session reads all rows", BOUND, || {
        Ok((session.integer("SELECT count(*) FROM t")? == 200).then_some(()))
    })?;
    session.run("UPDATE t SET v = 'all'")?;
    assert_eq!(session.integer("SELECT count(*) FROM t WHERE v = 'all'")?, 200);
    Ok(())
}
