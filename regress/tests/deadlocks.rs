//! Transactions that wait for each other on several nodes: one of them fails,
//! soon and with PostgreSQL's own error, and none without need.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use regress::{Session, Shape, TestCluster, db_error, eventually};

/// deadlock_timeout is one second, and to find it takes another at most; the
/// rest is patience with a busy machine.
const PROMPT: Duration = Duration::from_secs(10);
const BOUND: Duration = Duration::from_secs(30);

/// A cluster with a table, and a key of it that lives on each node.
struct Stage {
    cluster: TestCluster,
    keys: Vec<i64>,
}

/// A session in a transaction.
struct Client {
    session: Session,
    node: u16,
    pid: i64,
}

/// How a client's last statement ended.
struct Outcome {
    /// SQLSTATE and DETAIL of its error.
    error: Option<(String, String)>,
    took: Duration,
}

impl Stage {
    fn new(nodes: u16, config: &[&str]) -> anyhow::Result<Stage> {
        let cluster = TestCluster::start(&Shape { nodes, is_plain: false, config })?;
        let session = cluster.session(1)?;
        session.run(
            "CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL) WITH (distributed_by = 'id', num_parts = 6);
             INSERT INTO t SELECT g, 0 FROM generate_series(1, 100) g",
        )?;
        let mut keys = Vec::new();
        for node in 1..=nodes {
            let id = cluster.member_id(node)?;
            keys.push(session.integer(&format!(
                "SELECT min(g) FROM generate_series(1, 100) g JOIN shardman.parts p
                 ON p.rel = 't'::regclass AND satisfies_hash_partition('t'::regclass, 6, p.pnum, g)
                 WHERE p.node_id = {id}"
            ))?);
        }
        Ok(Stage { cluster, keys })
    }

    /// The update of the row that lives on a node.
    fn update(&self, node: u16) -> String {
        format!("UPDATE t SET v = v + 1 WHERE id = {}", self.keys[usize::from(node) - 1])
    }

    /// A new transaction on a node; each is younger than the one before.
    fn begin(&self, node: u16) -> anyhow::Result<Client> {
        let session = self.cluster.session(node)?;
        session.run("SET client_min_messages = error")?;
        let pid = session.integer("SELECT pg_backend_pid()")?;
        session.run("BEGIN")?;
        Ok(Client { session, node, pid })
    }

    fn wait_until_waiting(&self, client: &Client) -> anyhow::Result<()> {
        let watcher = self.cluster.session(1)?;
        let id = self.cluster.member_id(client.node)?;
        let pid = client.pid;
        eventually("the transaction waits", BOUND, || {
            let waits = watcher.integer(&format!(
                "SELECT count(*) FROM shardman.lock_graph WHERE waiter_node = {id} AND waiter_pid = {pid}"
            ))?;
            Ok((waits > 0).then_some(()))
        })
    }

    /// Runs one statement in each session, the next as soon as the last one
    /// waits, and then commits.
    fn run_in_turn(&self, steps: &[(&Client, String)]) -> anyhow::Result<Vec<Outcome>> {
        std::thread::scope(|scope| {
            let mut running = Vec::new();
            for (at, (client, sql)) in steps.iter().enumerate() {
                running.push(scope.spawn(move || {
                    let start = Instant::now();
                    let outcome = client.session.run(sql);
                    let took = start.elapsed();
                    client.session.run(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
                    let error = match outcome {
                        Ok(()) => None,
                        Err(error) => {
                            let Some(db) = db_error(&error) else { return Err(error) };
                            let detail = db.detail().unwrap_or_default().to_owned();
                            Some((db.code().code().to_owned(), detail))
                        }
                    };
                    Ok(Outcome { error, took })
                }));
                if at + 1 < steps.len() {
                    self.wait_until_waiting(client)?;
                }
            }
            running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        })
    }

    /// Asserts that of these, which wait for each other in a circle, just
    /// `victim` fails, and is told why.
    fn assert_one_falls(&self, steps: &[(&Client, String)], victim: usize) -> anyhow::Result<()> {
        let outcomes = self.run_in_turn(steps)?;
        for (at, outcome) in outcomes.iter().enumerate() {
            println!("client {at}: {:?} after {:?}", outcome.error, outcome.took);
        }
        for (at, outcome) in outcomes.iter().enumerate() {
            let Some((code, detail)) = &outcome.error else {
                assert_ne!(at, victim, "the victim came through");
                continue;
            };
            assert_eq!(at, victim, "the wrong one fell: {detail}");
            assert_eq!(code, "40P01", "{detail}");
            for (client, _) in steps {
                let who = format!(
                    "rocess {} on node {}",
                    client.pid,
                    self.cluster.member_id(client.node)?
                );
                assert!(detail.contains(&who), "{who} is not in: {detail}");
            }
            assert!(outcome.took < PROMPT, "it took {:?}", outcome.took);
        }
        Ok(())
    }
}

#[test]
fn two_transactions_on_two_nodes() -> anyhow::Result<()> {
    let stage = Stage::new(2, &[])?;
    // Each waits in its own backend, for what the other's session holds there,
    // or on the other node, for what the other's backend holds.
    for (first, second) in [((2, 1), (1, 2)), ((1, 2), (2, 1))] {
        let (old, young) = (stage.begin(1)?, stage.begin(2)?);
        old.session.run(&stage.update(first.0))?;
        young.session.run(&stage.update(second.0))?;
        // Whoever waits last: the youngest falls.
        let steps = [(&old, stage.update(first.1)), (&young, stage.update(second.1))];
        stage.assert_one_falls(&steps, 1)?;
    }
    for _ in 0..2 {
        let (young, old) = (stage.begin(1)?, stage.begin(2)?);
        old.session.run(&stage.update(1))?;
        young.session.run(&stage.update(2))?;
        young.session.run("COMMIT; BEGIN")?;
        young.session.run(&stage.update(2))?;
        let steps = [(&young, stage.update(1)), (&old, stage.update(2))];
        stage.assert_one_falls(&steps, 0)?;
    }
    Ok(())
}

#[test]
fn three_transactions_on_three_nodes() -> anyhow::Result<()> {
    let stage = Stage::new(3, &[])?;
    let clients = [stage.begin(1)?, stage.begin(2)?, stage.begin(3)?];
    let watcher = stage.cluster.session(1)?;
    let deadlocks = "SELECT sum(deadlocks) FROM shardman.transaction_counters";
    let before = watcher.integer(deadlocks)?;
    // Nobody's rows are at home.
    for (client, node) in clients.iter().zip([2, 3, 1]) {
        client.session.run(&stage.update(node))?;
    }
    let steps = [
        (&clients[2], stage.update(2)),
        (&clients[0], stage.update(3)),
        (&clients[1], stage.update(1)),
    ];
    stage.assert_one_falls(&steps, 0)?;
    assert_eq!(watcher.integer(deadlocks)?, before + 1);
    Ok(())
}

#[test]
fn a_local_transaction_in_between_and_one_in_a_function() -> anyhow::Result<()> {
    let stage = Stage::new(2, &[])?;
    stage
        .cluster
        .session(1)?
        .run("CREATE TABLE here (id int PRIMARY KEY); INSERT INTO here VALUES (1)")?;
    let (first, second, local) = (stage.begin(1)?, stage.begin(2)?, stage.begin(1)?);
    first.session.run("DELETE FROM here")?;
    local.session.run(&stage.update(1))?;
    second.session.run(&stage.update(2))?;
    // The youngest is not distributed: the second falls, also if a subtransaction
    // has failed before in which it waits, and may catch its error.
    second.session.run("SAVEPOINT s")?;
    assert_eq!(second.session.failure("SELECT 1/0")?.code().code(), "22012");
    second.session.run("ROLLBACK TO s")?;
    let block = format!(
        "DO $$ BEGIN {}; EXCEPTION WHEN deadlock_detected THEN RAISE sqlstate 'DEAD1' USING DETAIL = SQLERRM; END $$",
        stage.update(1)
    );
    let steps =
        [(&local, "DELETE FROM here".to_owned()), (&second, block), (&first, stage.update(2))];
    let outcomes = stage.run_in_turn(&steps)?;
    let codes: Vec<_> = outcomes
        .iter()
        .map(|o| o.error.as_ref().map(|(code, detail)| (code.as_str(), detail.as_str())))
        .collect();
    assert_eq!(codes, [None, Some(("DEAD1", "deadlock detected")), None]);
    Ok(())
}

#[test]
fn waits_for_the_ddl_lock_count() -> anyhow::Result<()> {
    let stage = Stage::new(3, &[])?;
    let (ddl, rows) = (stage.begin(2)?, stage.begin(3)?);
    ddl.session
        .run("CREATE TABLE u (id int PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 3)")?;
    rows.session.run(&stage.update(2))?;
    let steps = [
        (&ddl, stage.update(2)),
        (
            &rows,
            "CREATE TABLE w (id int PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 3)"
                .to_owned(),
        ),
    ];
    stage.assert_one_falls(&steps, 1)?;
    let watcher = stage.cluster.session(3)?;
    assert_eq!(
        watcher.integer(
            "SELECT count(*) FROM pg_class WHERE relname IN ('u', 'w') AND relkind = 'p'"
        )?,
        1
    );
    Ok(())
}

/// Transfers between three rows each, drawn in `order`; returns how many were
/// done and the SQLSTATEs of those that failed.
fn contend(stage: &Stage, sorted: bool, time: Duration) -> anyhow::Result<(u64, Vec<String>)> {
    let done = AtomicU64::new(0);
    let failed = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6u64)
            .map(|client| {
                let done = &done;
                scope.spawn(move || {
                    let session = stage.cluster.session((client % 3 + 1) as u16)?;
                    let (mut seed, mut failed) = (client + 1, Vec::new());
                    let mut draw = || {
                        seed = seed
                            .wrapping_mul(6364136223846793005)
                            .wrapping_add(1442695040888963407);
                        (seed >> 33) % 8 + 1
                    };
                    let start = Instant::now();
                    while start.elapsed() < time {
                        let mut keys = [draw(), draw(), draw()];
                        if sorted {
                            keys.sort_unstable();
                        }
                        let updates =
                            keys.map(|key| format!("UPDATE t SET v = v + 1 WHERE id = {key}"));
                        match session.run(&format!(
                            "BEGIN; {}; SELECT pg_sleep(0.1); COMMIT",
                            updates.join("; ")
                        )) {
                            Ok(()) => drop(done.fetch_add(1, Ordering::Relaxed)),
                            Err(error) => {
                                let Some(db) = db_error(&error) else { return Err(error) };
                                failed.push(db.code().code().to_owned());
                                session.run("ROLLBACK")?;
                            }
                        }
                    }
                    Ok(failed)
                })
            })
            .collect();
        let mut failed = Vec::new();
        for client in clients {
            failed.extend(client.join().expect("no panic")?);
        }
        anyhow::Ok(failed)
    })?;
    Ok((done.into_inner(), failed))
}

#[test]
fn contention_without_cycles_has_no_victims_and_with_them_goes_on() -> anyhow::Result<()> {
    // The detector looks all the time: most waits are longer than this.
    let stage = Stage::new(3, &["deadlock_timeout=20ms"])?;
    let time = Duration::from_secs(8);
    let (done, failed) = contend(&stage, true, time)?;
    println!("in order: {done} done, {failed:?}");
    assert_eq!(failed, Vec::<String>::new());
    assert!(done > 0, "nothing was done");
    // In any order most transactions meet a deadlock; nothing else breaks it.
    let (done, failed) = contend(&stage, false, time)?;
    println!("in any order: {done} done, {} failed", failed.len());
    assert!(done > 0 && !failed.is_empty());
    assert!(failed.iter().all(|code| code == "40P01"), "{failed:?}");
    Ok(())
}

#[test]
fn a_prepared_participant_is_part_of_its_transaction() -> anyhow::Result<()> {
    let stage = Stage::new(3, &[])?;
    stage.cluster.session(1)?.run(
        "CREATE TABLE d (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)
         WITH (distributed_by = 'id', colocate_with = 't')",
    )?;
    let (old, young) = (stage.begin(2)?, stage.begin(1)?);
    // The young one's PREPARE on node 2 waits to know whether the old one's row
    // stays, while what it did on node 3 is prepared already.
    let insert = format!("INSERT INTO d VALUES ({})", stage.keys[1]);
    old.session.run(&insert)?;
    young.session.run(&insert)?;
    young.session.run(&stage.update(3))?;
    let steps = [(&young, "COMMIT".to_owned()), (&old, stage.update(3))];
    stage.assert_one_falls(&steps, 0)?;
    let watcher = stage.cluster.session(3)?;
    assert_eq!(watcher.integer("SELECT count(*) FROM d")?, 1);
    assert_eq!(watcher.integer("SELECT sum(v) FROM t")?, 1);
    assert_eq!(watcher.integer("SELECT count(*) FROM shardman.in_doubt")?, 0);
    Ok(())
}
