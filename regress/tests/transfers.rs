//! Money moves between nodes while sessions between them are killed: the sum
//! stays what it was.

use std::time::{Duration, Instant};

use regress::{Session, TestCluster, db_error, eventually};

const ACCOUNTS: i64 = 60;
const BALANCE: i64 = 1000;
const CLIENTS: i64 = 4;
const TIME: Duration = Duration::from_secs(8);
const RECOVERY_BOUND: Duration = Duration::from_secs(20);

/// Transfers until the time is over; an error rolls one transfer back.
fn transfer(cluster: &TestCluster, client: i64) -> anyhow::Result<u32> {
    let node = u16::try_from(client % 3 + 1)?;
    let mut session = open(cluster, node)?;
    let (start, mut done, mut step) = (Instant::now(), 0, client);
    while start.elapsed() < TIME {
        step += 7;
        let (from, to) = (step % ACCOUNTS, (step * 13 + client) % ACCOUNTS);
        let savepoint = match step % 3 {
            0 => format!(
                "SAVEPOINT s; UPDATE account SET bal = bal - 100000 WHERE id = {from}; ROLLBACK TO s;"
            ),
            1 => "SELECT count(*) FROM account;".to_owned(),
            _ => String::new(),
        };
        let outcome = session.run(&format!(
            "BEGIN; {savepoint} UPDATE account SET bal = bal - 1 WHERE id = {from}; \
             UPDATE account SET bal = bal + 1 WHERE id = {to}; COMMIT"
        ));
        match outcome {
            Ok(()) => done += 1,
            Err(error) if db_error(&error).is_some() && session.run("ROLLBACK").is_ok() => {}
            // A client's own connection may be the one that was killed.
            Err(_) => session = open(cluster, node)?,
        }
    }
    Ok(done)
}

/// Nobody sees waits between nodes yet: a timeout breaks deadlocks.
fn open(cluster: &TestCluster, node: u16) -> anyhow::Result<Session> {
    let session = cluster.session(node)?;
    session.run("SET client_min_messages = error")?;
    Ok(session)
}

#[test]
fn transfers_under_killed_sessions_keep_the_sum() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    for node in 1..=3 {
        cluster.session(node)?.run("ALTER SYSTEM SET lock_timeout = '500ms'")?;
        cluster.session(node)?.run("SELECT pg_reload_conf()")?;
    }
    let session = cluster.session(1)?;
    session.run(
        "CREATE TABLE account (id int PRIMARY KEY, bal bigint) \
         WITH (distributed_by = 'id', num_parts = 6)",
    )?;
    session.run(&format!(
        "INSERT INTO account SELECT g, {BALANCE} FROM generate_series(0, {}) g",
        ACCOUNTS - 1
    ))?;
    let done = std::thread::scope(|scope| {
        let cluster = &cluster;
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || transfer(cluster, client))).collect();
        let start = Instant::now();
        while start.elapsed() < TIME {
            for node in 1..=3 {
                std::thread::sleep(Duration::from_millis(120));
                cluster.session(node)?.run(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE usename = 'shardman_node' AND query LIKE '%account%' \
                     ORDER BY random() LIMIT 1",
                )?;
            }
        }
        let mut done = 0;
        for client in clients {
            done += client.join().expect("clients do not panic")?;
        }
        anyhow::Ok(done)
    })?;
    assert!(done > 0, "no transfer came through");
    println!("{done} transfers");
    wait_for_recovery(&cluster)?;
    for node in 1..=3 {
        let sum = cluster.session(node)?.integer("SELECT sum(bal)::bigint FROM account")?;
        assert_eq!(sum, ACCOUNTS * BALANCE, "seen from node {node}");
    }
    Ok(())
}

/// Recovery finishes by itself what the kills left prepared.
fn wait_for_recovery(cluster: &TestCluster) -> anyhow::Result<()> {
    eventually("nothing is prepared", RECOVERY_BOUND, || {
        let mut left = 0;
        for node in 1..=3 {
            left += cluster.session(node)?.integer("SELECT count(*) FROM pg_prepared_xacts")?;
        }
        Ok((left == 0).then_some(()))
    })
}
