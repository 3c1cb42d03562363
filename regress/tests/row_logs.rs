//! Tables whose changes are carried by a log: what one node writes every node
//! reads, who is second is told so, and what is decided comes about.

use std::thread;
use std::time::{Duration, Instant};

use regress::{PausedProcess, Session, TestCluster, eventually};

const BOUND: Duration = Duration::from_secs(30);
const SERIALIZATION_FAILURE: &str = "40001";

fn nodes(cluster: &TestCluster) -> anyhow::Result<Vec<Session>> {
    (1..=3).map(|node| cluster.session(node)).collect()
}

fn all_see(nodes: &[Session], sql: &str, wanted: &str) -> anyhow::Result<()> {
    for (at, node) in nodes.iter().enumerate() {
        assert_eq!(node.value(sql)?, wanted, "{sql} on node {}", at + 1);
    }
    Ok(())
}

const ROWS: &str = "SELECT coalesce(string_agg(t::text, ' ' ORDER BY id), '') FROM t";

#[test]
fn what_is_written_on_one_node_is_read_on_every_node_at_once() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let nodes = nodes(&cluster)?;
    let [one, two, three] = &nodes[..] else { unreachable!() };
    one.run("SELECT shardman.add_log('events')")?;
    one.run(
        "CREATE TABLE t (id integer PRIMARY KEY, v text, u integer UNIQUE)
             WITH (replicated, log = 'events')",
    )?;
    // What is appended is what was computed, not how.
    one.run("INSERT INTO t SELECT i, random()::text, i FROM generate_series(1, 3) AS i")?;
    let rows = one.value(ROWS)?;
    all_see(&nodes, ROWS, &rows)?;
    two.run(
        "UPDATE t SET v = id; DELETE FROM t WHERE id = 2;
         INSERT INTO t VALUES (3, 'x', 9) ON CONFLICT (id) DO UPDATE SET v = 'y', u = 9",
    )?;
    all_see(&nodes, ROWS, "(1,1,1) (3,y,9)")?;

    // Savepoints, and statements that write nothing.
    three.run(
        "BEGIN; INSERT INTO t VALUES (4, 'a', 4); SAVEPOINT s; DELETE FROM t;
         ROLLBACK TO s; UPDATE t SET v = 'b' WHERE id = 4; DELETE FROM t WHERE id = 99; COMMIT",
    )?;
    all_see(&nodes, ROWS, "(1,1,1) (3,y,9) (4,b,4)")?;
    two.run("BEGIN; INSERT INTO t VALUES (5, 'gone', 5); ROLLBACK")?;
    let entries = "SELECT last_position FROM shardman.logs WHERE name = 'events'";
    assert_eq!(one.integer(entries)?, 3);

    // TRUNCATE and the rows behind it are one entry; COPY reads it.
    one.run("BEGIN; TRUNCATE t; INSERT INTO t VALUES (7, 'c', 7); COMMIT")?;
    all_see(&nodes, ROWS, "(7,c,7)")?;

    // A transaction that did more comes about with all of it, or not at all.
    two.run("CREATE TABLE s (id integer PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 6)")?;
    two.run("CREATE TABLE own (id integer)")?;
    two.run(
        "BEGIN; INSERT INTO t VALUES (8, 'd', 8); INSERT INTO own VALUES (1);
         INSERT INTO s SELECT generate_series(1, 20); COMMIT",
    )?;
    all_see(&nodes, ROWS, "(7,c,7) (8,d,8)")?;
    all_see(&nodes, "SELECT count(*) FROM s", "20")?;
    two.run("BEGIN; INSERT INTO t VALUES (9, 'e', 9); INSERT INTO own VALUES (1)")?;
    two.failure("INSERT INTO s VALUES (1)")?;
    two.run("ROLLBACK")?;
    all_see(&nodes, ROWS, "(7,c,7) (8,d,8)")?;
    let entry = two.value("SELECT shardman.read_log('events', 5)->>'state'")?;
    assert_eq!(entry, "committed");

    // A filled table; then it is a local one again.
    three.run(
        "CREATE TABLE f (id integer PRIMARY KEY, v text);
         INSERT INTO f SELECT i, repeat('x', 1000) FROM generate_series(1, 5000) AS i;
         SELECT shardman.replicate_table('events', 'f')",
    )?;
    all_see(&nodes, "SELECT count(*) FROM f", "5000")?;
    one.run("UPDATE f SET v = '' WHERE id = 1")?;
    all_see(&nodes, "SELECT count(*) FROM f WHERE v = ''", "1")?;
    let large = one.failure("UPDATE f SET v = v || 'y'")?;
    assert_eq!(large.code().code(), "54000");

    // The definition changes between rows.
    one.run("ALTER TABLE t ADD COLUMN w integer; INSERT INTO t VALUES (10, 'f', 10, 1)")?;
    all_see(&nodes, ROWS, "(7,c,7,) (8,d,8,) (10,f,10,1)")?;
    three.run("BEGIN; ALTER TABLE t DROP COLUMN v; UPDATE t SET w = 2; COMMIT")?;
    all_see(&nodes, ROWS, "(7,7,2) (8,8,2) (10,10,2)")?;
    two.run("SELECT shardman.unreplicate_table('f')")?;
    assert_eq!(two.integer("SELECT count(*) FROM f")?, 5000);
    assert_eq!(one.failure("SELECT count(*) FROM f")?.code().code(), "42P01");
    one.run("DROP TABLE t; SELECT shardman.remove_log('events')")?;
    assert_eq!(one.integer("SELECT count(*) FROM shardman.logs")?, 0);
    Ok(())
}

#[test]
fn who_is_second_is_told_so_and_nobody_waits_for_a_row_that_is_decided() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let nodes = nodes(&cluster)?;
    let [one, two, three] = &nodes[..] else { unreachable!() };
    one.run("SELECT shardman.add_log('l')")?;
    one.run(
        "CREATE TABLE t (id integer PRIMARY KEY, n integer, u integer UNIQUE)
             WITH (replicated, log = 'l');
         INSERT INTO t SELECT i, 0, i FROM generate_series(1, 9) AS i",
    )?;
    all_see(&nodes, "SELECT count(*) FROM t", "9")?;

    // Two nodes write one row. The second holds it when the first is decided.
    let is_applied = |at: &Session| {
        let sql = "SELECT (SELECT max(position) FROM shardman.row_log_applied)
                          = (SELECT last_position FROM shardman.logs)";
        eventually("the entry is applied", BOUND, || Ok((at.value(sql)? == "t").then_some(())))
    };
    two.run("BEGIN; UPDATE t SET n = 2 WHERE id = 1")?;
    one.run("UPDATE t SET n = 1 WHERE id = 1")?;
    let watcher = cluster.session(2)?;
    // It idles in its transaction, which ends its session.
    is_applied(&watcher)?;
    assert!(two.run("COMMIT").is_err());
    all_see(&[watcher, cluster.session(3)?], "SELECT n FROM t WHERE id = 1", "1")?;

    // One that is at work gets an error.
    let busy = cluster.session(3)?;
    busy.run("BEGIN; UPDATE t SET n = 3 WHERE id = 2")?;
    thread::scope(|scope| {
        let waits = scope.spawn(|| busy.failure("SELECT pg_sleep(60)"));
        one.run("UPDATE t SET n = 1 WHERE id = 2")?;
        let error = waits.join().expect("no panic")?;
        assert_eq!(error.code().code(), SERIALIZATION_FAILURE, "{}", error.message());
        anyhow::Ok(())
    })?;

    // Keys of all unique indexes count, whatever the rows; so does what was locked.
    let (a, b) = (cluster.session(1)?, cluster.session(2)?);
    let optimistic = "SET shardman.consistency_model TO 'optimistic'";
    a.run(optimistic)?;
    b.run(optimistic)?;
    let race = |first: &str, second: &str| -> anyhow::Result<String> {
        is_applied(&a)?;
        is_applied(&b)?;
        a.run("BEGIN")?;
        a.run(first)?;
        b.run("BEGIN")?;
        b.run(second)?;
        // Not applied on the node of the second, as if it were far away.
        let pid = cluster
            .session(2)?
            .value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'shardman log worker'")?;
        let paused = PausedProcess::stop(&pid)?;
        a.run("COMMIT")?;
        let outcome = match b.run("COMMIT") {
            Ok(()) => "committed".to_owned(),
            Err(error) => {
                let code = regress::db_error(&error).map(|db| db.code().code().to_owned());
                code.unwrap_or_default()
            }
        };
        paused.resume();
        Ok(outcome)
    };
    let conflict = SERIALIZATION_FAILURE;
    assert_eq!(
        race("UPDATE t SET n = 5 WHERE id = 3", "UPDATE t SET n = 6 WHERE id = 3")?,
        conflict
    );
    assert_eq!(
        race("UPDATE t SET u = 50 WHERE id = 3", "UPDATE t SET u = 50 WHERE id = 4")?,
        conflict
    );
    assert_eq!(
        race("INSERT INTO t VALUES (20, 0, 60)", "INSERT INTO t VALUES (20, 0, 61)")?,
        conflict
    );
    assert_eq!(race("INSERT INTO t VALUES (22, 0, 70)", "TRUNCATE t")?, conflict);
    let locks = "SELECT * FROM t WHERE id = 5 FOR UPDATE; UPDATE t SET n = 9 WHERE id = 6";
    assert_eq!(race("UPDATE t SET n = 1 WHERE id = 5", locks)?, conflict);
    all_see(&nodes[2..], "SELECT count(*) FROM t", "11")?;

    // A snapshot that was fixed before is no snapshot of now.
    three.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")?;
    one.run("UPDATE t SET n = 100 WHERE id = 9")?;
    assert_eq!(three.failure("SELECT * FROM t")?.code().code(), conflict);
    three.run("ROLLBACK")?;
    three.run("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
    assert_eq!(three.integer("SELECT n FROM t WHERE id = 9")?, 100);
    one.run("UPDATE t SET n = 101 WHERE id = 9")?;
    assert_eq!(three.integer("SELECT n FROM t WHERE id = 9")?, 100);
    three.run("COMMIT")?;

    // Refused, with a reason.
    for (sql, code) in [
        ("CREATE TABLE x (id int PRIMARY KEY) WITH (replicated, log = 'none')", "42704"),
        ("SELECT shardman.add_log('l')", "42710"),
        ("SELECT shardman.remove_log('l')", "2BP01"),
        ("CREATE TABLE x (id int PRIMARY KEY REFERENCES t) WITH (replicated, log = 'l')", "0A000"),
        ("ALTER TABLE t ADD COLUMN r float DEFAULT random()", "0A000"),
        ("BEGIN; UPDATE t SET n = 1; ALTER TABLE t DROP COLUMN n", "55006"),
        ("BEGIN; UPDATE t SET n = 1; PREPARE TRANSACTION 'p'", "0A000"),
    ] {
        let error = one.failure(sql)?;
        assert_eq!(error.code().code(), code, "{sql}: {}", error.message());
        one.run("ROLLBACK")?;
    }
    Ok(())
}

#[test]
fn a_majority_is_enough_and_a_node_that_was_away_catches_up() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let one = cluster.session(1)?;
    one.run("SELECT shardman.add_log('l')")?;
    one.run("CREATE TABLE t (id integer PRIMARY KEY, v text) WITH (replicated, log = 'l')")?;
    one.run("INSERT INTO t VALUES (0, 'begun')")?;
    assert_eq!(cluster.session(3)?.integer("SELECT count(*) FROM t")?, 1);
    cluster.on_node("kill", 3)?;
    let two = cluster.session(2)?;
    let written = |session: &Session, id: u32| {
        eventually("a majority has a leader", BOUND, || {
            session.run(&format!("INSERT INTO t VALUES ({id}, 'x') ON CONFLICT DO NOTHING"))?;
            Ok(Some(()))
        })
    };
    for id in 1..=20 {
        written(if id % 2 == 0 { &one } else { &two }, id)?;
    }
    assert_eq!(one.integer("SELECT count(*) FROM t")?, 21);

    // What one node killed while it was acknowledged must be there again.
    cluster.on_node("kill", 2)?;
    let begun = Instant::now();
    let refused = one.failure("SELECT count(*) FROM t")?;
    assert_eq!(refused.code().code(), "57P03", "{}", refused.message());
    assert!(begun.elapsed() < BOUND, "it took {:?}", begun.elapsed());
    assert_eq!(one.failure("INSERT INTO t VALUES (99)")?.code().code(), "57P03");
    one.run("SET shardman.consistency_model TO 'optimistic'")?;
    assert_eq!(one.integer("SELECT count(*) FROM t")?, 21);
    one.run("RESET shardman.consistency_model")?;

    cluster.on_node("start", 2)?;
    cluster.on_node("start", 3)?;
    for node in 2..=3 {
        let session = eventually("the node is back", BOUND, || cluster.session(node).map(Some))?;
        eventually("the node reads what was written", BOUND, || {
            Ok((session.integer("SELECT count(*) FROM t")? == 21).then_some(()))
        })?;
    }
    written(&cluster.session(3)?, 100)?;
    assert_eq!(one.integer("SELECT count(*) FROM t")?, 22);
    Ok(())
}
