//! Replicated tables while nodes are killed: copies stay equal, and what was
//! acknowledged stays.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use regress::{Session, Shape, TestCluster, eventually};

const WRITERS: u16 = 6;

/// What a writer knows of its row.
#[derive(Default)]
struct Written {
    acknowledged: i64,
    /// Those whose connection was lost before the answer came.
    unknown: i64,
}

/// Counts in a row of its own and in one that all share, until told to stop.
fn write(cluster: &TestCluster, at: u16, done: &AtomicBool) -> anyhow::Result<Written> {
    let mut written = Written::default();
    let mut session: Option<Session> = None;
    while !done.load(Ordering::Relaxed) {
        let Some(open) = &session else {
            thread::sleep(Duration::from_millis(50));
            session = cluster.session(at % 3 + 1).ok();
            continue;
        };
        let sql = format!(
            "BEGIN; UPDATE t SET n = n + 1 WHERE id = 0; UPDATE t SET n = n + 1 WHERE id = {};
             COMMIT",
            at + 1
        );
        match open.run(&sql) {
            Ok(()) => written.acknowledged += 1,
            Err(error) => {
                let code = regress::db_error(&error).map(|db| db.code().code().to_owned());
                match code.as_deref() {
                    // Rolled back for certain: the client was told so.
                    Some(code) if !["57P01", "57P02", "08007", "08006"].contains(&code) => {
                        if open.run("ROLLBACK").is_err() {
                            session = None;
                        }
                    }
                    _ => {
                        written.unknown += 1;
                        session = None;
                    }
                }
            }
        }
    }
    Ok(written)
}

#[test]
fn a_killed_node_leaves_copies_equal_and_loses_nothing() -> anyhow::Result<()> {
    let cluster = TestCluster::start(&Shape {
        nodes: 3,
        is_plain: false,
        config: &["shardman.node_timeout=4s"],
    })?;
    let first = cluster.session(1)?;
    first.run(&format!(
        "CREATE TABLE t (id integer PRIMARY KEY, n bigint) WITH (replicated);
         INSERT INTO t SELECT i, 0 FROM generate_series(0, {WRITERS}) AS i"
    ))?;
    let done = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|at| {
                let (cluster, done) = (&cluster, &done);
                scope.spawn(move || write(cluster, at, done))
            })
            .collect();
        let harmed = (|| {
            // The home of the table, and one that is not.
            for node in [2, 1] {
                thread::sleep(Duration::from_millis(1500));
                cluster.on_node("kill", node)?;
                thread::sleep(Duration::from_millis(1500));
                cluster.on_node("start", node)?;
            }
            thread::sleep(Duration::from_millis(1500));
            anyhow::Ok(())
        })();
        done.store(true, Ordering::Relaxed);
        let written = writers
            .into_iter()
            .map(|writer| writer.join().unwrap_or_else(|_| anyhow::bail!("a writer panicked")));
        let written = written.collect::<anyhow::Result<Vec<_>>>()?;
        harmed?;
        anyhow::Ok(written)
    })?;
    let nodes = (1..=3).map(|node| cluster.session(node)).collect::<anyhow::Result<Vec<_>>>()?;
    eventually("nothing is prepared any more", Duration::from_secs(30), || {
        let prepared = nodes
            .iter()
            .map(|node| node.integer("SELECT count(*) FROM pg_prepared_xacts"))
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok((prepared.iter().sum::<i64>() == 0).then_some(()))
    })?;
    let rows = "SELECT string_agg(t::text, ' ' ORDER BY id) FROM t";
    let copies = nodes.iter().map(|node| node.value(rows)).collect::<anyhow::Result<Vec<_>>>()?;
    assert!(copies.iter().all(|copy| *copy == copies[0]), "{copies:?}");
    let mut total = 0;
    for (at, written) in (1..).zip(&written) {
        let n = nodes[0].integer(&format!("SELECT n FROM t WHERE id = {at}"))?;
        assert!(
            (written.acknowledged..=written.acknowledged + written.unknown).contains(&n),
            "writer {at}: {n}, acknowledged {}, unknown {}",
            written.acknowledged,
            written.unknown
        );
        assert!(written.acknowledged > 0, "writer {at} wrote nothing");
        total += n;
    }
    assert_eq!(nodes[0].integer("SELECT n FROM t WHERE id = 0")?, total);

    a_node_that_is_marked_down_is_left_out_and_catches_up(&cluster, &nodes, total)
}

fn a_node_that_is_marked_down_is_left_out_and_catches_up(
    cluster: &TestCluster,
    nodes: &[Session],
    total: i64,
) -> anyhow::Result<()> {
    let first = &nodes[0];
    first.run(
        "CREATE TABLE s (id integer PRIMARY KEY, t integer REFERENCES t) WITH (distributed_by = 'id', num_parts = 6);
         CREATE TABLE untouched (id integer PRIMARY KEY) WITH (replicated);
         INSERT INTO untouched VALUES (1)",
    )?;
    // While it is away and nobody has said so, writes fail at once with its
    // name; reads go on.
    cluster.on_node("kill", 3)?;
    let error = first.failure("UPDATE t SET n = 0 WHERE id = 0")?;
    assert!(error.message().contains("node3") && error.hint().is_some(), "{error:?}");
    assert_eq!(first.integer("SELECT n FROM t WHERE id = 0")?, total);
    let state = "SELECT state FROM shardman.node WHERE id = 3";
    for node in &nodes[..2] {
        eventually("node 3 is marked down", Duration::from_secs(30), || {
            Ok((node.value(state)? == "down").then_some(()))
        })?;
    }
    first.run(
        "UPDATE t SET n = -1 WHERE id = 0; INSERT INTO t SELECT i, i FROM generate_series(100, 3000) AS i;
         CREATE TABLE made (id integer PRIMARY KEY) WITH (replicated);
         INSERT INTO made VALUES (1), (2)",
    )?;
    // Its leaves may hold rows that refer to this one.
    assert_eq!(first.failure("DELETE FROM t WHERE id = 5")?.code().code(), "55000");
    nodes[1].run("DELETE FROM untouched; INSERT INTO untouched VALUES (7)")?;

    let done = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let done = &done;
        let writer = scope.spawn(move || {
            let session = cluster.session(2)?;
            let mut written = 0;
            while !done.load(Ordering::Relaxed) {
                session.run("UPDATE t SET n = n + 1 WHERE id = 1")?;
                written += 1;
            }
            anyhow::Ok(written)
        });
        let returned = cluster.on_node("start", 3).and_then(|_| {
            eventually("node 3 is active", Duration::from_secs(60), || {
                Ok((first.value(state)? == "active").then_some(()))
            })
        });
        thread::sleep(Duration::from_millis(300));
        done.store(true, Ordering::Relaxed);
        let written = writer.join().unwrap_or_else(|_| anyhow::bail!("the writer panicked"))?;
        returned?;
        anyhow::Ok(written)
    })?;
    assert!(written > 0, "nothing was written while node 3 came back");
    let third = cluster.session(3)?;
    for table in ["t", "untouched", "made"] {
        let rows = format!("SELECT string_agg(t::text, ' ' ORDER BY id) FROM {table} AS t");
        assert_eq!(third.value(&rows)?, first.value(&rows)?, "{table}");
    }
    third.run("DELETE FROM t WHERE id >= 100")?;
    assert_eq!(first.integer("SELECT count(*) FROM t")?, i64::from(WRITERS) + 1);
    Ok(())
}
