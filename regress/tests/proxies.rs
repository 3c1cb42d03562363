//! The proxy between nodes holds, cuts and delays the message it is told to.

use std::time::{Duration, Instant};

use regress::{Moment, TestCluster};

const BOUND: Duration = Duration::from_secs(20);

#[test]
fn a_held_message_waits_and_a_cut_one_is_lost() -> anyhow::Result<()> {
    let cluster = TestCluster::with_proxies(2)?;
    let one = cluster.session(1)?;
    one.run(
        "CREATE TABLE t (id int PRIMARY KEY, v int) WITH (distributed_by = 'id', num_parts = 2)",
    )?;
    one.run("INSERT INTO t SELECT g, 0 FROM generate_series(1, 40) g")?;
    let there = one
        .integer("SELECT min(id) FROM t WHERE tableoid::regclass::text LIKE 'shardman_remote.%'")?;

    // Held before the server: its backend is idle meanwhile.
    let update = format!("BEGIN; SELECT 1; UPDATE t SET v = v + 1 WHERE id = {there}; COMMIT");
    let stop = cluster.proxy(2).stop_at("UPDATE", Moment::Request);
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let done = scope.spawn(|| cluster.session(1)?.run(&update));
        stop.wait(BOUND)?;
        let two = cluster.session(2)?;
        assert_eq!(two.integer("SELECT sum(v) FROM t")?, 0);
        assert!(!done.is_finished());
        stop.release();
        done.join().expect("it does not panic")
    })?;
    assert_eq!(one.integer("SELECT sum(v) FROM t")?, 1);

    // Cut before the answer: the client hears of a lost connection.
    let stop = cluster.proxy(2).stop_at("UPDATE", Moment::Reply);
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let done = scope.spawn(|| cluster.session(1)?.failure(&update));
        stop.wait(BOUND)?;
        stop.cut();
        let error = done.join().expect("it does not panic")?;
        assert!(error.code().code().starts_with("08"), "{error:?}");
        Ok(())
    })?;

    // Delayed: late, and nothing else.
    cluster.proxy(2).delay("UPDATE", Duration::from_millis(300));
    let start = Instant::now();
    cluster.session(1)?.run(&update)?;
    assert!(start.elapsed() >= Duration::from_millis(300));
    Ok(())
}
