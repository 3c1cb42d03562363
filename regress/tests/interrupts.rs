//! Cancelling a statement stops it on the other nodes, and connections that go
//! away are named and made anew.

use std::time::{Duration, Instant};

use regress::{Session, TestCluster, eventually};

/// Generous: what is measured is printed.
const PROMPT: Duration = Duration::from_secs(5);
const BOUND: Duration = Duration::from_secs(30);
/// Takes minutes on each node, unless it is stopped; ships as it is.
const ENDLESS: &str = "SELECT count(*) FROM t WHERE length(repeat(md5(v), 300000)) + length(v) > 0";
const REMOTE_WORK: &str = "SELECT count(*) FROM pg_stat_activity
     WHERE application_name LIKE 'shardman of node%' AND state = 'active' AND backend_type = 'client backend'
       AND query NOT LIKE '%raft%'";

/// Rows on the other two nodes only: PostgreSQL's Append looks at what comes
/// from elsewhere when it is done here.
fn cluster_with_rows() -> anyhow::Result<(TestCluster, i64)> {
    let cluster = TestCluster::up(3)?;
    let session = cluster.session(1)?;
    session.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text) WITH (distributed_by = 'id', num_parts = 6);
         INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 300000) g
         WHERE NOT EXISTS (SELECT FROM shardman.parts p
                           WHERE p.rel = 't'::regclass AND p.node_id = shardman.my_id()
                             AND satisfies_hash_partition('t'::regclass, 6, p.pnum, g))",
    )?;
    let rows = session.integer("SELECT count(*) FROM t")?;
    Ok((cluster, rows))
}

/// Waits until so many other nodes work for node 1.
fn wait_for_remote_work(watchers: &[Session], nodes: usize) -> anyhow::Result<()> {
    eventually("the other nodes work", BOUND, || {
        let mut busy = 0;
        for watcher in watchers {
            busy += usize::from(watcher.integer(REMOTE_WORK)? > 0);
        }
        Ok((busy >= nodes).then_some(()))
    })
}

fn wait_for_remote_peace(watchers: &[Session]) -> anyhow::Result<()> {
    for watcher in watchers {
        eventually("the other nodes stop", PROMPT, || {
            Ok((watcher.integer(REMOTE_WORK)? == 0).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn cancelling_stops_the_statement_everywhere() -> anyhow::Result<()> {
    let (cluster, rows) = cluster_with_rows()?;
    let session = cluster.session(1)?;
    let other = cluster.session(1)?;
    let watchers = [cluster.session(2)?, cluster.session(3)?];
    let pid = session.integer("SELECT pg_backend_pid()")?;
    for asynchronous in ["on", "off"] {
        session.run(&format!("SET enable_async_append = {asynchronous}"))?;
        std::thread::scope(|scope| {
            let query = scope.spawn(|| session.failure(ENDLESS));
            let busy = if asynchronous == "on" { 2 } else { 1 };
            wait_for_remote_work(&watchers, busy)?;
            let start = Instant::now();
            other.run(&format!("SELECT pg_cancel_backend({pid})"))?;
            let error = query.join().expect("the thread does not panic")?;
            let took = start.elapsed();
            println!("async {asynchronous}: cancelled in {took:?}");
            assert_eq!(error.code().code(), "57014", "{error}");
            assert!(took < PROMPT, "{took:?}");
            wait_for_remote_peace(&watchers)?;
            println!("async {asynchronous}: all quiet after {:?}", start.elapsed());
            anyhow::Ok(())
        })?;
        assert_eq!(session.integer("SELECT count(*) FROM t")?, rows);
    }
    Ok(())
}

#[test]
fn statement_timeout_stops_the_statement_everywhere() -> anyhow::Result<()> {
    let (cluster, rows) = cluster_with_rows()?;
    let session = cluster.session(1)?;
    let watchers = [cluster.session(2)?, cluster.session(3)?];
    session.run("SET statement_timeout = 1000")?;
    for asynchronous in ["on", "off"] {
        session.run(&format!("SET enable_async_append = {asynchronous}"))?;
        let start = Instant::now();
        let error = session.failure(ENDLESS)?;
        let took = start.elapsed();
        println!("async {asynchronous}: a timeout of 1 s took {took:?}");
        assert_eq!(error.code().code(), "57014", "{error}");
        assert!(took < Duration::from_secs(1) + PROMPT, "{took:?}");
        wait_for_remote_peace(&watchers)?;
    }
    session.run("RESET statement_timeout")?;
    // Within a block that goes on.
    session.run("BEGIN; INSERT INTO t SELECT g, 'more' FROM generate_series(300001, 300100) g")?;
    session.run("SAVEPOINT s; SET LOCAL statement_timeout = 500")?;
    assert_eq!(session.failure(ENDLESS)?.code().code(), "57014");
    session.run("ROLLBACK TO s; COMMIT")?;
    assert_eq!(session.integer("SELECT count(*) FROM t")?, rows + 100);
    Ok(())
}

#[test]
fn a_killed_remote_backend_is_named_and_replaced() -> anyhow::Result<()> {
    let (cluster, rows) = cluster_with_rows()?;
    let session = cluster.session(1)?;
    let watchers = [cluster.session(2)?, cluster.session(3)?];
    let mut names = Vec::new();
    for node in 2..=3 {
        let id = cluster.member_id(node)?;
        names.push(session.value(&format!("SELECT name FROM shardman.nodes WHERE id = {id}"))?);
    }
    for asynchronous in ["on", "off"] {
        session.run(&format!("SET enable_async_append = {asynchronous}"))?;
        std::thread::scope(|scope| {
            let query = scope.spawn(|| session.failure(ENDLESS));
            let (name, start) = eventually("a node works", BOUND, || {
                // Without async only one of them does.
                for (watcher, name) in watchers.iter().zip(&names) {
                    let killed = watcher.integer(
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                         WHERE application_name LIKE 'shardman of node%' AND state = 'active'
                           AND query LIKE '%repeat%' AND pid <> pg_backend_pid()",
                    )?;
                    if killed > 0 {
                        return Ok(Some((name, Instant::now())));
                    }
                }
                Ok(None)
            })?;
            let error = query.join().expect("the thread does not panic")?;
            println!("async {asynchronous}: a killed backend was noticed in {:?}", start.elapsed());
            assert_eq!(error.code().code(), "08006", "{error}");
            let text = format!("{} {:?}", error.message(), error.detail());
            assert!(text.contains(name), "the node is not named: {text}");
            anyhow::Ok(())
        })?;
        wait_for_remote_peace(&watchers)?;
        assert_eq!(session.integer("SELECT count(*) FROM t")?, rows);
    }
    Ok(())
}
