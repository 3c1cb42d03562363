//! What a crash between the phases of a commit leaves behind is finished by
//! itself, by the node that coordinated it.

use std::time::Duration;

use anyhow::Context;
use regress::{Session, TestCluster, eventually};
use serde_json::Value;

const BOUND: Duration = Duration::from_secs(60);
const TABLE: &str =
    "CREATE TABLE t (id integer PRIMARY KEY, v text) WITH (distributed_by = 'id', num_parts = 3)";

/// Logs in to node `node` as another node would.
fn node_session(cluster: &TestCluster, node: u16) -> anyhow::Result<Session> {
    let directory = cluster.session(node)?.value("SHOW data_directory")?;
    let identity = std::fs::read_to_string(format!("{directory}/shardman/identity.json"))?;
    let identity: Value = serde_json::from_str(&identity)?;
    let credential = identity["credential"].as_str().context("no credential")?;
    Session::open(&format!(
        "host=127.0.0.1 port={} user=shardman_node dbname=postgres password={credential}",
        cluster.port(node)
    ))
}

/// The leaf of `t` that stands on node `node`, and a key that belongs there.
fn leaf_and_key(cluster: &TestCluster, node: u16) -> anyhow::Result<(String, i64)> {
    let session = cluster.session(node)?;
    let leaf = session.value(
        "SELECT min(part_name) FROM shardman.parts WHERE rel = 't'::regclass AND node_id = shardman.my_id()",
    )?;
    let part = leaf.rsplit('_').next().context("a leaf's name ends in its number")?;
    let key = session.integer(&format!(
        "SELECT min(i) FROM generate_series(1, 100) AS i WHERE satisfies_hash_partition('t'::regclass, 3, {part}, i)"
    ))?;
    Ok((leaf, key))
}

/// The present life of node `node`.
fn life(cluster: &TestCluster, node: u16) -> anyhow::Result<String> {
    let directory = cluster.session(node)?.value("SHOW data_directory")?;
    let lives = std::fs::read_to_string(format!("{directory}/shardman/lives"))?;
    Ok(lives.lines().last().context("no life is entered")?.to_owned())
}

/// Leaves a row prepared on node `node` as a part of a transaction of node 1,
/// `name` being life and xid; returns the row's key.
fn prepare_by_hand(
    cluster: &TestCluster,
    node: u16,
    name: &str,
    participants: &str,
) -> anyhow::Result<i64> {
    let (leaf, key) = leaf_and_key(cluster, node)?;
    node_session(cluster, node)?.run(&format!(
        "BEGIN; SET shardman.effective_user TO 'postgres';
         INSERT INTO shardman_data.{leaf} VALUES ({key}, 'late');
         PREPARE TRANSACTION 'sc_1_{name}_0_{participants}'"
    ))?;
    Ok(key)
}

fn wait_until_old(session: &Session) -> anyhow::Result<()> {
    eventually("the participant has aged", BOUND, || {
        let old = "SELECT count(*) FROM shardman.in_doubt WHERE age > interval '3 seconds'";
        Ok((session.integer(old)? == 1).then_some(()))
    })
}

fn wait_until_none_is_in_doubt(cluster: &TestCluster, nodes: u16) -> anyhow::Result<()> {
    eventually("no transaction is in doubt", BOUND, || {
        let mut left = 0;
        for node in 1..=nodes {
            left += cluster.session(node)?.integer("SELECT count(*) FROM shardman.in_doubt")?;
        }
        Ok((left == 0).then_some(()))
    })
}

#[test]
fn a_participant_whose_coordinator_decided_is_committed() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let first = cluster.session(1)?;
    first.run(TABLE)?;
    // What a coordinator leaves that died between its commit and the second
    // phase: its own transaction with the decision row, and a participant.
    let (xid, life) = (first.value("SELECT pg_current_xact_id()")?, life(&cluster, 1)?);
    let key = prepare_by_hand(&cluster, 2, &format!("{life}_{xid}"), "2")?;
    first.run(&format!(
        "INSERT INTO shardman.commit_decision VALUES (1, {life}, {xid}, '{{2}}', NULL, now())"
    ))?;
    wait_until_none_is_in_doubt(&cluster, 2)?;
    assert_eq!(first.value(&format!("SELECT v FROM t WHERE id = {key}"))?, "late");
    eventually("the decision has gone", BOUND, || {
        Ok((first.integer("SELECT count(*) FROM shardman.commit_decision")? == 0).then_some(()))
    })
}

#[test]
fn a_participant_whose_coordinator_did_not_decide_is_rolled_back() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let first = cluster.session(1)?;
    first.run(TABLE)?;
    let (xid, life) = (first.value("SELECT pg_current_xact_id()")?, life(&cluster, 1)?);
    let key = prepare_by_hand(&cluster, 2, &format!("{life}_{xid}"), "2")?;
    wait_until_none_is_in_doubt(&cluster, 2)?;
    assert_eq!(first.integer(&format!("SELECT count(*) FROM t WHERE id = {key}"))?, 0);
    Ok(())
}

#[test]
fn a_running_coordinator_and_an_unknown_transaction_are_left_alone() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let first = cluster.session(1)?;
    first.run(TABLE)?;
    first.run("BEGIN")?;
    let xid = first.value("SELECT pg_current_xact_id()")?;
    let life = life(&cluster, 1)?;
    prepare_by_hand(&cluster, 2, &format!("{life}_{xid}"), "2")?;
    let second = cluster.session(2)?;
    // Older than the grace period, and looked at again by hand.
    wait_until_old(&second)?;
    let other = cluster.session(1)?;
    assert_eq!(other.integer("SELECT shardman.recover_xacts()")?, 0);
    assert_eq!(second.integer("SELECT count(*) FROM shardman.in_doubt")?, 1);
    // Over without a decision: now it goes.
    first.run("ROLLBACK")?;
    wait_until_none_is_in_doubt(&cluster, 2)?;

    // A life that this data directory does not remember: a copy of it was
    // brought back, which cannot know what became of the transaction.
    prepare_by_hand(&cluster, 2, &format!("{}_{xid}", life.parse::<u64>()? + 1), "2")?;
    wait_until_old(&second)?;
    assert_eq!(other.integer("SELECT shardman.recover_xacts()")?, 0);
    assert_eq!(second.integer("SELECT count(*) FROM shardman.in_doubt")?, 1);
    Ok(())
}

#[test]
fn a_silent_node_does_not_keep_the_others_waiting() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let first = cluster.session(1)?;
    first.run(TABLE)?;
    // Recovery has its sessions by now.
    eventually("recovery has looked at node 3", BOUND, || {
        let sessions =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_prepared_xacts%'
                        AND usename = 'shardman_node'";
        Ok((cluster.session(3)?.integer(sessions)? > 0).then_some(()))
    })?;
    cluster.on_node("pause", 3)?;
    let (xid, life) = (first.value("SELECT pg_current_xact_id()")?, life(&cluster, 1)?);
    prepare_by_hand(&cluster, 2, &format!("{life}_{xid}"), "2.3")?;
    let finished = eventually("node 2 is finished", BOUND, || {
        let left = "SELECT count(*) FROM shardman.in_doubt";
        Ok((cluster.session(2)?.integer(left)? == 0).then_some(()))
    });
    cluster.on_node("resume", 3)?;
    finished
}

#[test]
fn a_transaction_id_that_a_crash_gave_again_does_not_decide_for_the_former_one()
-> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let first = cluster.session(1)?;
    first.run(TABLE)?;
    let (former, xid) = (life(&cluster, 1)?, first.value("SELECT pg_current_xact_id()")?);
    cluster.on_node("kill", 1)?;
    cluster.on_node("start", 1)?;
    // Prepared in the former life; the id of its transaction never reached the
    // disk, and in this life another transaction has it, which commits.
    let first = cluster.session(1)?;
    let present = life(&cluster, 1)?;
    assert_ne!(former, present);
    let third = cluster.session(3)?;
    first.run(&format!(
        "INSERT INTO shardman.commit_decision VALUES (1, {present}, {xid}, '{{3}}', NULL, now())"
    ))?;
    let key = prepare_by_hand(&cluster, 2, &format!("{former}_{xid}"), "2")?;
    wait_until_none_is_in_doubt(&cluster, 3)?;
    assert_eq!(third.integer(&format!("SELECT count(*) FROM t WHERE id = {key}"))?, 0);
    Ok(())
}

#[test]
fn killing_nodes_during_transfers_keeps_the_sum_and_leaves_nothing_prepared() -> anyhow::Result<()>
{
    let cluster = TestCluster::up(3)?;
    let session = cluster.session(1)?;
    session.run(
        "CREATE TABLE account (id integer PRIMARY KEY, balance bigint) WITH (distributed_by = 'id', num_parts = 6);
         INSERT INTO account SELECT i, 1000 FROM generate_series(1, 60) AS i",
    )?;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let done = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| -> anyhow::Result<()> {
        for client in 0..3u64 {
            let (cluster, stop, done) = (&cluster, &stop, &done);
            scope.spawn(move || {
                // Errors are what this is about: a transfer happens or it does not.
                let mut seed = client + 1;
                let mut draw = |below: u64| {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (seed >> 33) % below
                };
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let Ok(session) = cluster.session(1 + draw(3) as u16) else { continue };
                    for _ in 0..20 {
                        let (from, to) = (1 + draw(60), 1 + draw(60));
                        let transfer = format!(
                            "SET lock_timeout = '2s'; SET statement_timeout = '5s'; BEGIN;
                             UPDATE account SET balance = balance - 7 WHERE id = {from};
                             UPDATE account SET balance = balance + 7 WHERE id = {to};
                             COMMIT"
                        );
                        if session.run(&transfer).is_err() {
                            break;
                        }
                        done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
        let kills = || -> anyhow::Result<()> {
            for node in [2, 1, 3, 2] {
                let before = done.load(std::sync::atomic::Ordering::Relaxed);
                eventually("transfers go on", BOUND, || {
                    Ok((done.load(std::sync::atomic::Ordering::Relaxed) > before + 30)
                        .then_some(()))
                })?;
                cluster.on_node("kill", node)?;
                cluster.on_node("start", node)?;
            }
            Ok(())
        };
        let killed = kills();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        killed
    })?;
    wait_until_none_is_in_doubt(&cluster, 3)?;
    for node in 1..=3 {
        let sum = cluster.session(node)?.integer("SELECT sum(balance) FROM account")?;
        assert_eq!(sum, 60_000, "seen from node {node}");
    }
    Ok(())
}
