//! The COMMIT of a participant that only returned rows is not waited for. What
//! could be noticed of that: locks, a transaction that stays open, a session
//! that answers the wrong question afterwards.

use std::time::Duration;

use regress::{Session, TestCluster, eventually};

const BOUND: Duration = Duration::from_secs(10);

fn open_transactions(session: &Session) -> anyhow::Result<i64> {
    session.integer(
        "SELECT count(*) FROM pg_stat_activity
         WHERE usename = 'shardman_node' AND state LIKE '%in transaction%'",
    )
}

#[test]
fn nothing_is_left_open_and_locks_are_gone_at_once() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let one = cluster.session(1)?;
    one.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text) WITH (distributed_by = 'id', num_parts = 6)",
    )?;
    one.run("INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1, 60000) g")?;

    // Rows are still on their way when the first of them are enough.
    for _ in 0..3 {
        one.run("BEGIN; DECLARE c CURSOR FOR SELECT * FROM t; FETCH 9000 FROM c; COMMIT")?;
        one.run("SELECT * FROM t LIMIT 5000")?;
        anyhow::ensure!(one.integer("SELECT count(*) FROM t WHERE id = 7")? == 1);
    }
    for node in 1..=3 {
        let there = cluster.session(node)?;
        eventually("remote transactions have ended", BOUND, || {
            Ok((open_transactions(&there)? == 0).then_some(()))
        })?;
    }

    // A lock that COMMIT has released is not met again.
    let two = cluster.session(2)?;
    for id in 1..=60 {
        one.run(&format!("BEGIN; SELECT FROM t WHERE id = {id} FOR UPDATE; COMMIT"))?;
        two.run(&format!("BEGIN; SELECT FROM t WHERE id = {id} FOR UPDATE NOWAIT; COMMIT"))?;
    }

    // The unheard answer does not become the next statement's.
    for id in 1..=20 {
        anyhow::ensure!(one.integer(&format!("SELECT id FROM t WHERE id = {id}"))? == id);
        one.failure(&format!("SELECT id / 0 FROM t WHERE id = {id}"))?;
        one.run(&format!("UPDATE t SET v = '{id}' WHERE id = {id}"))?;
        anyhow::ensure!(two.integer(&format!("SELECT v FROM t WHERE id = {id}"))? == id);
    }
    Ok(())
}
