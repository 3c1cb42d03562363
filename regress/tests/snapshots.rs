//! REPEATABLE READ is one snapshot of the whole cluster: the sum of all accounts
//! is exact in every one, and who saw a transaction saw those before it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use regress::{PausedProcess, Session, TestCluster, db_error, eventually, key_on_node};

const ACCOUNTS: i64 = 60;
const SUM: i64 = ACCOUNTS * 1000;
const TIME: Duration = Duration::from_secs(8);
const BOUND: Duration = Duration::from_secs(30);
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ";

fn bank(cluster: &TestCluster) -> anyhow::Result<Session> {
    let session = cluster.session(1)?;
    session.run(&format!(
        "CREATE TABLE account (id int PRIMARY KEY, bal bigint) WITH (distributed_by = 'id', num_parts = 6);
         INSERT INTO account SELECT g, 1000 FROM generate_series(1, {ACCOUNTS}) g;
         CREATE TABLE mark (id int PRIMARY KEY, n bigint) WITH (distributed_by = 'id', num_parts = 3);
         INSERT INTO mark SELECT g, 0 FROM generate_series(1, 100) g"
    ))?;
    Ok(session)
}

/// Moves money between accounts until told to stop, always in ascending order of
/// accounts, so that no two clients wait for each other.
fn transfers(cluster: &TestCluster, client: i64, stop: &AtomicBool) -> anyhow::Result<u64> {
    let session = cluster.session(u16::try_from(client % 3 + 1)?)?;
    let (mut done, mut step) = (0, client);
    while !stop.load(Ordering::Relaxed) {
        step += 7;
        let (one, other) = (1 + step % ACCOUNTS, 1 + (step * 13 + client) % ACCOUNTS);
        let (low, high) = (one.min(other), one.max(other));
        session.run(&format!(
            "BEGIN; UPDATE account SET bal = bal - 5 WHERE id = {low}; \
             UPDATE account SET bal = bal + 5 WHERE id = {high}; COMMIT"
        ))?;
        done += 1;
    }
    Ok(done)
}

/// T1 marks a row of node 1, T2 a row of node 2, each through another node and
/// each a transaction of its own; T2 begins when T1 was answered.
fn marks(cluster: &TestCluster, stop: &AtomicBool) -> anyhow::Result<u64> {
    let (first, second) = (key_on_node(cluster, "mark", 1)?, key_on_node(cluster, "mark", 2)?);
    let sessions = [cluster.session(1)?, cluster.session(2)?, cluster.session(3)?];
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let at = usize::try_from(n)? % 3;
        sessions[at].run(&format!("UPDATE mark SET n = {n} WHERE id = {first}"))?;
        sessions[(at + 1) % 3].run(&format!("UPDATE mark SET n = {n} WHERE id = {second}"))?;
    }
    Ok(n)
}

/// Reads sums and marks in snapshots. The marks are read in the wrong order for
/// whoever has no snapshot, the sum slowly.
fn read(cluster: &TestCluster, node: u16, stop: &AtomicBool) -> anyhow::Result<u64> {
    let (first, second) = (key_on_node(cluster, "mark", 1)?, key_on_node(cluster, "mark", 2)?);
    let session = cluster.session(node)?;
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        match session.run(BEGIN) {
            Ok(()) => {}
            // Under load a snapshot may take too long; then it is refused whole.
            Err(error) if db_error(&error).is_some_and(|e| e.code().code() == "40001") => continue,
            Err(error) => return Err(error),
        }
        let before = session.integer(&format!("SELECT n FROM mark WHERE id = {first}"))?;
        let sum = session.integer("SELECT sum(bal)::bigint FROM account")?;
        assert_eq!(sum, SUM, "in a snapshot on node {node}");
        let after = session.integer(&format!("SELECT n FROM mark WHERE id = {second}"))?;
        assert!(after <= before, "node {node} saw T2 ({after}) without its T1 ({before})");
        let again = session.integer("SELECT sum(bal)::bigint FROM account WHERE id > 0")?;
        assert_eq!(again, SUM, "read again on node {node}");
        session.run("COMMIT")?;
        done += 1;
    }
    Ok(done)
}

#[test]
fn every_snapshot_of_the_bank_is_exact_and_causal() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    bank(&cluster)?;
    let stop = AtomicBool::new(false);
    let (writes, reads) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (cluster, stop) = (&cluster, &stop);
        let writers: Vec<_> =
            (0..3).map(|c| scope.spawn(move || transfers(cluster, c, stop))).collect();
        let marker = scope.spawn(move || marks(cluster, stop));
        let readers: Vec<_> =
            (1..=3).map(|node| scope.spawn(move || read(cluster, node, stop))).collect();
        let start = Instant::now();
        // A failed thread ends the test at once.
        while start.elapsed() < TIME
            && !writers.iter().chain(&readers).any(|thread| thread.is_finished())
        {
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        for (threads, total) in [(writers, &writes), (readers, &reads), (vec![marker], &writes)] {
            for thread in threads {
                let done = thread.join().map_err(|panic| std::panic::resume_unwind(panic));
                total.fetch_add(done.unwrap_or(Ok(0))?, Ordering::Relaxed);
            }
        }
        anyhow::Ok(())
    })?;
    let (writes, reads) = (writes.into_inner(), reads.into_inner());
    println!("{writes} writes, {reads} snapshots");
    // Neither starves the other.
    assert!(writes > 0 && reads > 0);
    Ok(())
}

#[test]
fn the_snapshot_is_taken_at_begin_or_set_transaction_on_all_nodes() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let writer = bank(&cluster)?;
    let reader = cluster.session(2)?;
    let change = "UPDATE account SET bal = bal + 1";
    let sum = "SELECT sum(bal)::bigint FROM account";
    let mut expected = SUM;
    let cases = [
        ("", BEGIN),
        ("", "BEGIN; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"),
        ("", "START TRANSACTION; SET transaction_isolation = 'repeatable read'"),
        ("SET default_transaction_isolation = 'repeatable read'", "BEGIN READ ONLY"),
    ];
    for (before, begin) in cases {
        reader.run(before)?;
        reader.run(begin)?;
        writer.run(change)?;
        assert_eq!(reader.integer(sum)?, expected, "after {begin}");
        expected += ACCOUNTS;
        reader.run("COMMIT; SET default_transaction_isolation = 'read committed'")?;
        assert_eq!(reader.integer(sum)?, expected);
    }
    // In a procedure a transaction begins without a BEGIN of its own.
    writer.run("CREATE TABLE seen (s bigint)")?;
    writer.run(&format!(
        "DO $$ BEGIN COMMIT; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
         INSERT INTO seen {sum}; END $$"
    ))?;
    assert_eq!(writer.integer("SELECT s FROM seen")?, expected);
    // READ COMMITTED sees each change, and waits for a row rather than fail.
    reader.run("BEGIN")?;
    writer.run(change)?;
    assert_eq!(reader.integer(sum)?, expected + ACCOUNTS);
    reader.run("COMMIT")?;
    // Switched off, each node's snapshot is of its first use.
    reader.run(&format!("SET shardman.global_snapshot = off; {BEGIN}; SELECT 1"))?;
    writer.run(change)?;
    let here = format!("{sum} WHERE id = {}", key_on_node(&cluster, "account", 2)?);
    let there = format!("{sum} WHERE id = {}", key_on_node(&cluster, "account", 3)?);
    assert_eq!(reader.integer(&here)? + 1, reader.integer(&there)?);
    reader.run("COMMIT")
}

/// A commit on nodes 2 and 3 through node 1 that is decided and carried out on
/// node 2, while the session of node 3 that is to carry it out is stopped.
struct HalfDone {
    commit: JoinHandle<anyhow::Result<()>>,
    stopped: PausedProcess,
}

impl HalfDone {
    fn arrange(cluster: &TestCluster) -> anyhow::Result<HalfDone> {
        let writer = cluster.session(1)?;
        let (there, elsewhere) =
            (key_on_node(cluster, "account", 2)?, key_on_node(cluster, "account", 3)?);
        writer.run(&format!(
            "BEGIN; UPDATE account SET bal = bal - 5 WHERE id = {there};
             UPDATE account SET bal = bal + 5 WHERE id = {elsewhere}"
        ))?;
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
        let second = cluster.session(2)?;
        eventually("node 2 has committed", BOUND, || {
            let done = second.integer(&format!("SELECT bal FROM account WHERE id = {there}"))?;
            Ok((done == 995).then_some(()))
        })?;
        Ok(HalfDone { commit, stopped })
    }

    fn resume(self) -> anyhow::Result<()> {
        self.stopped.resume();
        self.commit.join().expect("no panic")
    }
}

#[test]
fn a_snapshot_waits_for_a_decision_that_is_half_carried_out_and_then_fails() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    bank(&cluster)?;
    let reader = cluster.session(2)?;
    let half_done = HalfDone::arrange(&cluster)?;
    let refused = reader.failure(BEGIN)?;
    assert_eq!(refused.code().code(), "40001", "{refused}");
    half_done.resume()?;
    reader.run(BEGIN)?;
    assert_eq!(reader.integer("SELECT sum(bal)::bigint FROM account")?, SUM);
    reader.run("COMMIT")
}

#[test]
fn a_coordinator_killed_between_decision_and_second_phase_never_splits_a_snapshot()
-> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    bank(&cluster)?;
    let reader = cluster.session(2)?;
    let half_done = HalfDone::arrange(&cluster)?;
    cluster.on_node("kill", 1)?;
    let refused = reader.failure(BEGIN)?;
    assert!(refused.code().code().starts_with("08"), "{refused}");
    cluster.on_node("start", 1)?;
    // The node has forgotten its gate; what it had decided it looks up again.
    eventually("a snapshot", BOUND, || {
        reader.run(BEGIN)?;
        let sum = reader.integer("SELECT sum(bal)::bigint FROM account")?;
        reader.run("COMMIT")?;
        assert_eq!(sum, SUM);
        Ok(Some(()))
    })?;
    // The client of the killed server was told nothing.
    assert!(half_done.resume().is_err());
    Ok(())
}

#[test]
fn a_session_that_stands_still_with_all_gates_closed_holds_commits_up_for_its_lease_only()
-> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let writer = bank(&cluster)?;
    let closer = cluster.node_session(1)?;
    closer.run("BEGIN; SET shardman.gate TO 'close 10000 1500'")?;
    let start = Instant::now();
    writer.run("UPDATE account SET bal = bal WHERE id = 1")?;
    writer.run(&format!(
        "UPDATE account SET bal = bal WHERE id = {}",
        key_on_node(&cluster, "account", 1)?
    ))?;
    assert!(start.elapsed() > Duration::from_secs(1), "the gate was not closed");
    closer.run("ROLLBACK; BEGIN; SET shardman.gate TO 'close 100 60000'")?;
    drop(closer);
    eventually("the gate opens with the end of the session", BOUND, || {
        writer.run("SET statement_timeout = '1s'; UPDATE account SET bal = bal").map(Some)
    })?;
    // Nobody but nodes speaks to the gate.
    let refused = writer.failure("SET shardman.gate TO 'close 100 60000'")?;
    assert_eq!(refused.code().code(), "42602");
    Ok(())
}

#[test]
fn a_session_that_ends_while_it_waits_at_a_closed_gate_shuts_it_for_nobody() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let reader = bank(&cluster)?;
    let closer = cluster.node_session(1)?;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'Extension' AND query LIKE 'INSERT INTO here%'";
    reader.run("CREATE TABLE here (i int)")?;
    for end in ["pg_cancel_backend", "pg_terminate_backend"] {
        let writer = cluster.session(1)?;
        closer.run("BEGIN; SET shardman.gate TO 'close 1000 20000'")?;
        let commit = std::thread::spawn(move || writer.failure("INSERT INTO here VALUES (1)"));
        eventually("a commit waits", BOUND, || Ok((reader.integer(waiting)? == 1).then_some(())))?;
        reader.run(&format!(
            "SELECT {end}(pid) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO here%'"
        ))?;
        commit.join().expect("no panic")?;
        closer.run("ROLLBACK")?;
        reader.run(&format!("{BEGIN}; SELECT sum(bal) FROM account; COMMIT"))?;
    }
    Ok(())
}
