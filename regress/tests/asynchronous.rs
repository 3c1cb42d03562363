//! Scans of several nodes run at the same time.

use std::time::{Duration, Instant};

use regress::{Session, TestCluster, eventually};

const BOUND: Duration = Duration::from_secs(30);

/// A partitioned table over foreign servers, one a node, that takes a second on each.
fn create_slow_table(cluster: &TestCluster) -> anyhow::Result<Session> {
    let session = cluster.session(1)?;
    session.run("CREATE TABLE slow (id int, v int) PARTITION BY LIST (id)")?;
    for node in 1..=3 {
        let port = cluster.port(node);
        cluster.session(node)?.run(&format!(
            "CREATE VIEW slow_{node} AS SELECT {node} AS id, length(pg_sleep(1)::text) AS v"
        ))?;
        session.run(&format!(
            "CREATE SERVER s{node} FOREIGN DATA WRAPPER shardman_fdw
                 OPTIONS (host '127.0.0.1', port '{port}', dbname 'postgres', async_capable 'true');
             CREATE USER MAPPING FOR postgres SERVER s{node} OPTIONS (user 'postgres');
             CREATE FOREIGN TABLE slow_at_{node} PARTITION OF slow FOR VALUES IN ({node})
                 SERVER s{node} OPTIONS (schema_name 'public', table_name 'slow_{node}')"
        ))?;
    }
    Ok(session)
}

#[test]
fn three_seconds_of_three_servers_take_one() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let session = create_slow_table(&cluster)?;
    let timed = || {
        let start = Instant::now();
        session.integer("SELECT count(*) FROM slow").map(|rows| (rows, start.elapsed()))
    };
    let (rows, took) = timed()?;
    println!("three sleeps of a second at the same time: {took:?}");
    assert_eq!(rows, 3);
    assert!(took < Duration::from_millis(2500), "{took:?}");
    session.run("SET enable_async_append = off")?;
    let (rows, took) = timed()?;
    println!("one after the other: {took:?}");
    assert_eq!(rows, 3);
    assert!(took >= Duration::from_secs(3), "{took:?}: the test shows nothing");
    // Asked for by its option only.
    session
        .run("RESET enable_async_append; ALTER SERVER s2 OPTIONS (SET async_capable 'false')")?;
    let plan = session.rows("EXPLAIN SELECT * FROM slow")?;
    let lines: Vec<&str> = plan.iter().filter_map(|row| row[0].as_deref()).collect();
    assert_eq!(lines.iter().filter(|l| l.contains("Async Foreign Scan")).count(), 2, "{lines:?}");
    Ok(())
}

#[test]
fn scans_that_are_merged_are_asked_together() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let session = create_slow_table(&cluster)?;
    let timed = |query: &str| {
        let start = Instant::now();
        session.rows(query).map(|rows| (rows.len(), start.elapsed()))
    };
    session.run("PREPARE top(int) AS SELECT id FROM slow WHERE id <> $1 ORDER BY v, id")?;
    session.run("SET plan_cache_mode = force_generic_plan")?;
    for query in ["SELECT id FROM slow ORDER BY v, id LIMIT 5", "EXECUTE top(7)"] {
        let plan = session.rows(&format!("EXPLAIN {query}"))?;
        assert!(format!("{plan:?}").contains("Merge Append"), "{plan:?}");
        let (rows, took) = timed(query)?;
        println!("{query}: {took:?}");
        assert_eq!(rows, 3);
        assert!(took < Duration::from_millis(2500), "{query}: {took:?}");
    }
    Ok(())
}

#[test]
fn leaves_of_all_nodes_are_read_at_the_same_time() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let session = cluster.session(1)?;
    session.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text) WITH (distributed_by = 'id', num_parts = 12);
         INSERT INTO t SELECT g, repeat('x', 100) || g FROM generate_series(1, 60000) g",
    )?;
    // Two nodes whose leaves are locked: both are waited for at once.
    let lock = "DO $$ DECLARE leaf regclass; BEGIN
                FOR leaf IN SELECT c.oid::regclass FROM pg_class c
                            WHERE relnamespace = 'shardman_data'::regnamespace AND relkind = 'r'
                LOOP EXECUTE 'LOCK TABLE ' || leaf; END LOOP; END $$";
    let lockers = [cluster.session(2)?, cluster.session(3)?];
    for locker in &lockers {
        locker.run(&format!("BEGIN; {lock}"))?;
    }
    std::thread::scope(|scope| {
        let count = scope.spawn(|| session.integer("SELECT count(*) FROM t WHERE random() < 2"));
        for locker in &lockers {
            eventually("each node has a scan that waits", BOUND, || {
                let waiting = locker.integer(
                    "SELECT count(*) FROM pg_stat_activity
                     WHERE application_name LIKE 'shardman of node%' AND wait_event_type = 'Lock'",
                )?;
                Ok((waiting > 0).then_some(()))
            })?;
        }
        for locker in &lockers {
            locker.run("COMMIT")?;
        }
        assert_eq!(count.join().expect("the thread does not panic")?, 60000);
        anyhow::Ok(())
    })?;

    // Several Appends over the same sessions, in turns, some of them left half-way.
    let joined = "SELECT count(*) FROM t a JOIN t b ON a.v = b.v AND random() < 2";
    assert_eq!(session.integer(joined)?, 60000);
    session.run("SET enable_hashjoin = off")?;
    assert_eq!(session.integer(joined)?, 60000);
    session.run("RESET enable_hashjoin")?;
    let many = "SELECT sum((SELECT count(*) FROM (SELECT FROM t LIMIT 150 + g) s))
                FROM generate_series(1, 20) g";
    assert_eq!(session.integer(many)?, (151..=170).sum::<i64>());
    for _ in 0..20 {
        assert_eq!(session.integer("SELECT count(*) FROM (SELECT FROM t LIMIT 777) s")?, 777);
    }
    Ok(())
}

#[test]
fn a_hundred_cursors_share_each_connection() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let session = cluster.session(1)?;
    session.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text) WITH (distributed_by = 'id', num_parts = 6);
         INSERT INTO t SELECT g, repeat('x', 100) || g FROM generate_series(1, 3000) g;
         BEGIN",
    )?;
    for n in 0..100 {
        session.run(&format!("DECLARE c{n} CURSOR FOR SELECT id, v FROM t WHERE random() < 2"))?;
    }
    // Read in turns, each to a different place.
    let mut seen = vec![0; 100];
    for round in 1..=3 {
        for (n, seen) in seen.iter_mut().enumerate() {
            *seen += session.rows(&format!("FETCH {} FROM c{n}", round * (n + 1)))?.len();
        }
    }
    for (n, seen) in seen.iter().enumerate() {
        assert_eq!(*seen, 6 * (n + 1), "cursor {n}");
    }
    // One of them to the end, through an error in a savepoint.
    assert!(session.run("SAVEPOINT s; SELECT id / 0 FROM t").is_err());
    session.run("ROLLBACK TO s")?;
    let rest = session.rows("FETCH ALL FROM c50")?.len();
    assert_eq!(rest + seen[50], 3000);
    for node in 2..=3 {
        let sessions = cluster.session(node)?.integer(
            "SELECT count(*) FROM pg_stat_activity
             WHERE application_name LIKE 'shardman of node%' AND state = 'idle in transaction'",
        )?;
        assert_eq!(sessions, 1, "connections to node {node}");
    }
    session.run("COMMIT")?;
    assert_eq!(session.integer("SELECT count(*) FROM t")?, 3000);
    Ok(())
}

/// Resident memory of the session's backend, kilobytes.
fn resident(session: &Session) -> anyhow::Result<i64> {
    session.integer(
        "SELECT (regexp_match(pg_read_file('/proc/' || pg_backend_pid() || '/status'),
                              'RssAnon:\\s+(\\d+)'))[1]::int",
    )
}

/// Reads a table of so many million rows slowly, the first rows and then many.
fn read_slowly(millions: i64, row_bytes: i64) -> anyhow::Result<()> {
    const LIMIT_KB: i64 = 32 * 1024;
    let cluster = TestCluster::up(3)?;
    let session = cluster.session(1)?;
    session.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text) WITH (distributed_by = 'id', num_parts = 24)",
    )?;
    for million in 0..millions {
        session.run(&format!(
            "INSERT INTO t SELECT g, repeat('x', {row_bytes}) || g
             FROM generate_series({million} * 1000000 + 1, ({million} + 1) * 1000000) AS g"
        ))?;
    }
    let session = cluster.session(1)?;
    session.run("SELECT count(*) FROM t WHERE id < 10 AND random() < 2")?;
    for asynchronous in ["on", "off"] {
        session.run(&format!("SET enable_async_append = {asynchronous}; BEGIN"))?;
        session.run("DECLARE c NO SCROLL CURSOR FOR SELECT * FROM t")?;
        let before = resident(&session)?;
        session.run("FETCH 100 FROM c")?;
        let after_100 = resident(&session)? - before;
        let many = millions * 300_000;
        session.run(&format!("MOVE {many} IN c"))?;
        let after_many = resident(&session)? - before;
        println!(
            "async {asynchronous}: {after_100} kB after 100 rows, {after_many} kB after {many}"
        );
        assert!(after_100 < LIMIT_KB, "{after_100} kB");
        assert!(after_many < LIMIT_KB, "{after_many} kB");
        session.run("COMMIT")?;
    }
    Ok(())
}

#[test]
fn a_slow_reader_does_not_collect_the_table() -> anyhow::Result<()> {
    // About 200 MB on 2 of 3 nodes.
    read_slowly(1, 250)
}

#[test]
#[ignore = "a gigabyte of data"]
fn a_slow_reader_of_ten_million_rows_does_not_collect_them() -> anyhow::Result<()> {
    read_slowly(10, 60)
}

#[test]
fn connections_to_all_nodes_are_made_at_the_same_time() -> anyhow::Result<()> {
    let cluster = TestCluster::up(4)?;
    cluster.session(1)?.run(
        "CREATE TABLE t (id int PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 8);
         INSERT INTO t SELECT generate_series(1, 100)",
    )?;
    for node in 2..=4 {
        let session = cluster.session(node)?;
        session.run("ALTER SYSTEM SET pre_auth_delay = 1")?;
        session.run("SELECT pg_reload_conf()")?;
    }
    // The postmaster has taken the setting in once a log-in is slow.
    for node in 2..=4 {
        eventually("log-ins take a second", BOUND, || {
            let start = Instant::now();
            cluster.session(node)?;
            Ok((start.elapsed() > Duration::from_millis(900)).then_some(()))
        })?;
    }
    let session = cluster.session(1)?;
    let start = Instant::now();
    assert_eq!(session.integer("SELECT count(*) FROM t")?, 100);
    let took = start.elapsed();
    println!("three log-ins of a second at the same time: {took:?}");
    assert!(took > Duration::from_millis(900), "{took:?}: the test shows nothing");
    assert!(took < Duration::from_millis(2500), "{took:?}");
    // A node that cannot be reached is reported as ever.
    cluster.on_node("kill", 4)?;
    let session = cluster.session(1)?;
    let error = session.failure("SELECT count(*) FROM t")?;
    assert_eq!(&error.code().code()[..2], "08", "{error}");
    Ok(())
}
