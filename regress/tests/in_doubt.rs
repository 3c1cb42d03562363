//! A client whose COMMIT was answered sees its writes from then on; who reads what
//! a transaction in doubt has locked waits, and fails rather than miss rows.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use regress::{PausedProcess, TestCluster, eventually, key_on_node};

const BOUND: Duration = Duration::from_secs(30);

/// A commit on nodes 1 and 3, decided on node 1, while the session of node 3 that
/// is to carry it out is stopped. Nobody but node 1 knows of the decision.
struct CutOff {
    cluster: TestCluster,
    commit: JoinHandle<anyhow::Result<()>>,
    stopped: PausedProcess,
    pid: String,
    /// The keys of node 3 and node 1 that it writes.
    keys: [i64; 2],
}

impl CutOff {
    fn arrange() -> anyhow::Result<CutOff> {
        let cluster = TestCluster::up(3)?;
        let writer = cluster.session(1)?;
        writer.run(
            "CREATE TABLE t (id int PRIMARY KEY, v int) WITH (distributed_by = 'id', num_parts = 3);
             CREATE TABLE other (id int PRIMARY KEY, v int) WITH (distributed_by = 'id', colocate_with = 't');
             INSERT INTO other SELECT g, 0 FROM generate_series(1, 100) g",
        )?;
        let keys = [key_on_node(&cluster, "t", 3)?, key_on_node(&cluster, "t", 1)?];
        writer.run(&format!("BEGIN; INSERT INTO t VALUES ({}, 1), ({}, 1)", keys[0], keys[1]))?;
        let third = cluster.session(3)?;
        let pid = third.value(
            "SELECT pid FROM pg_stat_activity
             WHERE usename = 'shardman_node' AND state = 'idle in transaction'",
        )?;
        // At the closed gate the commit stands between PREPARE and the decision.
        let closer = cluster.node_session(1)?;
        closer.run("BEGIN; SET shardman.gate TO 'close 10000 20000'")?;
        let commit = std::thread::spawn(move || writer.run("COMMIT"));
        eventually("all is prepared", BOUND, || {
            let prepared = third.integer("SELECT count(*) FROM shardman.in_doubt")?;
            Ok((prepared == 1).then_some(()))
        })?;
        let stopped = PausedProcess::stop(&pid)?;
        closer.run("ROLLBACK")?;
        let first = cluster.session(1)?;
        eventually("node 1 has committed", BOUND, || {
            let done = first.integer(&format!("SELECT count(*) FROM t WHERE id = {}", keys[1]))?;
            Ok((done == 1).then_some(()))
        })?;
        Ok(CutOff { cluster, commit, stopped, pid, keys })
    }

    /// Until the participant on node 3 is old enough to be in doubt.
    fn age(&self) -> anyhow::Result<()> {
        let third = self.cluster.session(3)?;
        let old = "SELECT count(*) FROM shardman.in_doubt WHERE age > interval '5 seconds'";
        eventually("the participant has aged", BOUND, || {
            Ok((third.integer(old)? == 1).then_some(()))
        })
    }
}

#[test]
fn a_read_of_what_is_in_doubt_fails_rather_than_miss_rows() -> anyhow::Result<()> {
    let cut_off = CutOff::arrange()?;
    // The coordinator is gone between decision and second phase, and cannot come
    // back to its participant.
    cut_off.cluster.on_node("kill", 1)?;
    cut_off.age()?;
    assert!(cut_off.commit.join().expect("no panic").is_err(), "its client knows nothing");
    for node in [3, 2] {
        let reader = cut_off.cluster.session(node)?;
        let start = Instant::now();
        let error =
            reader.failure(&format!("SELECT count(*) FROM t WHERE id = {}", cut_off.keys[0]))?;
        assert_eq!(error.code().code(), "40001", "through node {node}: {error}");
        assert!(start.elapsed() < Duration::from_secs(20), "the wait is bounded");
        // What it has not locked is read at once, and so is the catalogue.
        let query = format!("SELECT count(*) FROM other WHERE id = {}", cut_off.keys[0]);
        assert_eq!(reader.integer(&query)?, 1, "through node {node}");
    }
    // Once the coordinator is back all is seen, without an operator.
    cut_off.cluster.on_node("start", 1)?;
    let reader = cut_off.cluster.session(2)?;
    eventually("the row is seen", BOUND, || {
        let query = format!("SELECT count(*) FROM t WHERE id = {}", cut_off.keys[0]);
        assert_eq!(reader.integer(&query)?, 1, "a statement that succeeds sees the row");
        Ok(Some(()))
    })
}

#[test]
fn a_read_that_waited_for_what_was_in_doubt_sees_it() -> anyhow::Result<()> {
    let cut_off = CutOff::arrange()?;
    // Recovery would not let it come to that.
    cut_off.cluster.on_node("kill", 1)?;
    cut_off.age()?;
    let readers: Vec<_> = [3, 2]
        .into_iter()
        .map(|node| cut_off.cluster.session(node))
        .collect::<anyhow::Result<_>>()?;
    let query = format!("SELECT count(*) FROM t WHERE id = {}", cut_off.keys[0]);
    let reads: Vec<_> = readers
        .into_iter()
        .map(|reader| {
            let query = query.clone();
            std::thread::spawn(move || reader.integer(&query))
        })
        .collect();
    let third = cut_off.cluster.session(3)?;
    eventually("both wait for the transaction in doubt", BOUND, || {
        let waiting = third.integer("SELECT count(*) FROM pg_locks WHERE NOT granted")?;
        Ok((waiting == 2).then_some(()))
    })?;
    // As the coordinator will do.
    let gid = third.value("SELECT gid FROM shardman.in_doubt")?;
    third.run(&format!("COMMIT PREPARED '{gid}'"))?;
    for read in reads {
        assert_eq!(read.join().expect("no panic")?, 1);
    }
    Ok(())
}

#[test]
fn commit_is_answered_when_recovery_has_finished_a_lost_participant() -> anyhow::Result<()> {
    let cut_off = CutOff::arrange()?;
    // Its connection breaks, and nobody but recovery comes back to it.
    let third = cut_off.cluster.session(3)?;
    third.run(&format!("SELECT pg_terminate_backend({})", cut_off.pid))?;
    cut_off.stopped.resume();
    cut_off.commit.join().expect("no panic")?;
    let seen = third.integer(&format!("SELECT count(*) FROM t WHERE id = {}", cut_off.keys[0]))?;
    assert_eq!(seen, 1, "seen as soon as COMMIT was answered");
    Ok(())
}

#[test]
fn a_read_whose_snapshot_is_older_than_the_end_of_what_was_in_doubt_sees_it() -> anyhow::Result<()>
{
    let cut_off = CutOff::arrange()?;
    cut_off.cluster.on_node("kill", 1)?;
    cut_off.age()?;
    let third = cut_off.cluster.session(3)?;
    let gid = third.value("SELECT gid FROM shardman.in_doubt")?;
    // The reader has its snapshot, and stands still before it looks for what is in doubt.
    let holder = cut_off.cluster.session(3)?;
    holder.run("BEGIN; LOCK TABLE pg_catalog.pg_locks IN ACCESS EXCLUSIVE MODE")?;
    let reader = cut_off.cluster.session(3)?;
    let reader_pid = reader.integer("SELECT pg_backend_pid()")?;
    let query = format!("SELECT count(*) FROM t WHERE id = {}", cut_off.keys[0]);
    let read = std::thread::spawn(move || reader.integer(&query));
    eventually("the reader is about to look", BOUND, || {
        let waiting = third.integer(&format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE pid = {reader_pid} AND wait_event_type = 'Lock'"
        ))?;
        Ok((waiting == 1).then_some(()))
    })?;
    third.run(&format!("COMMIT PREPARED '{gid}'"))?;
    holder.run("ROLLBACK")?;
    assert_eq!(read.join().expect("no panic")?, 1);
    Ok(())
}
