//! What a transaction over several nodes refuses, each with its reason, and what
//! works in one although a prepared transaction could not hold it.

use std::time::Duration;

use regress::{Session, TestCluster};

const BOUND: Duration = Duration::from_secs(10);
const TABLE: &str =
    "CREATE TABLE t (id int PRIMARY KEY, v int) WITH (distributed_by = 'id', num_parts = 3);
     INSERT INTO t SELECT g, 0 FROM generate_series(1, 30) g";
/// Writes on all nodes, so that the commit has two phases.
const WRITE: &str = "UPDATE t SET v = v + 1";

fn cluster() -> anyhow::Result<(TestCluster, Session)> {
    let cluster = TestCluster::up(3)?;
    let session = cluster.session(1)?;
    session.run(TABLE)?;
    Ok((cluster, session))
}

/// How often all rows have been written, as every node sees it.
fn writes(cluster: &TestCluster) -> anyhow::Result<i64> {
    let read = |node| cluster.session(node)?.integer("SELECT sum(v) / 30 FROM t");
    let (one, two, three) = (read(1)?, read(2)?, read(3)?);
    anyhow::ensure!(one == two && two == three, "nodes disagree: {one}, {two}, {three}");
    Ok(one)
}

#[test]
fn prepare_transaction_is_refused_and_leaves_nothing() -> anyhow::Result<()> {
    let (cluster, session) = cluster()?;
    for begin in ["BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ"] {
        session.run(&format!("{begin}; {WRITE}"))?;
        let refused = session.failure("PREPARE TRANSACTION 'by hand'")?;
        assert_eq!(refused.code().code(), "0A000", "{refused}");
        assert!(refused.hint().is_some_and(|hint| hint.contains("two phases")), "{refused:?}");
    }
    for node in 1..=3 {
        let prepared = "SELECT count(*) FROM pg_prepared_xacts";
        assert_eq!(cluster.session(node)?.integer(prepared)?, 0);
    }
    assert_eq!(writes(&cluster)?, 0);
    // One that has used this node alone may be.
    session.run("CREATE TABLE here (i int); BEGIN; INSERT INTO here VALUES (1)")?;
    session.run("PREPARE TRANSACTION 'by hand'")?;
    session.run("COMMIT PREPARED 'by hand'")?;
    assert_eq!(session.integer("SELECT count(*) FROM here")?, 1);
    Ok(())
}

#[test]
fn temporary_tables_stay_on_the_coordinator() -> anyhow::Result<()> {
    let (cluster, session) = cluster()?;
    session.run(
        "BEGIN; CREATE TEMP TABLE chosen ON COMMIT DROP AS SELECT id FROM t WHERE id <= 10;
         UPDATE t SET v = v + 1 FROM chosen WHERE t.id = chosen.id;
         UPDATE t SET v = v + 1 WHERE id > 10; COMMIT",
    )?;
    assert_eq!(writes(&cluster)?, 1);
    session.run(&format!(
        "CREATE TEMP TABLE kept (id int); BEGIN; INSERT INTO kept SELECT id FROM t; {WRITE}; COMMIT"
    ))?;
    assert_eq!(session.integer("SELECT count(*) FROM kept")?, 30);
    // In a snapshot of the cluster, and used together with another node alone.
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ; UPDATE t SET v = 2 FROM kept WHERE kept.id = t.id; COMMIT")?;
    assert_eq!(writes(&cluster)?, 2);
    Ok(())
}

#[test]
fn notifications_go_with_the_commit() -> anyhow::Result<()> {
    let (cluster, session) = cluster()?;
    session.run(&format!("BEGIN; LISTEN c; {WRITE}; NOTIFY c, 'x'; COMMIT"))?;
    assert_eq!(session.value("SELECT pg_listening_channels()")?, "c");
    session.run(&format!("BEGIN; UNLISTEN c; {WRITE}; NOTIFY c, 'x'; ROLLBACK"))?;
    assert_eq!(session.value("SELECT pg_listening_channels()")?, "c");
    assert_eq!(writes(&cluster)?, 1);
    // The listeners of this node hear what was committed, those of others nothing.
    let (mut here, mut elsewhere) = (cluster.session(1)?, cluster.session(2)?);
    here.run("LISTEN d")?;
    elsewhere.run("LISTEN d")?;
    session.run(&format!("BEGIN; {WRITE}; NOTIFY d, 'rolled back'; ROLLBACK"))?;
    session.run(&format!("BEGIN; {WRITE}; NOTIFY d, 'committed'; COMMIT"))?;
    assert_eq!(here.notification(BOUND)?, ("d".to_owned(), "committed".to_owned()));
    cluster.session(2)?.run("NOTIFY d, 'of its own node'")?;
    assert_eq!(elsewhere.notification(BOUND)?, ("d".to_owned(), "of its own node".to_owned()));
    Ok(())
}

#[test]
fn an_imported_snapshot_is_of_one_node() -> anyhow::Result<()> {
    let (cluster, exporter) = cluster()?;
    exporter.run("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
    let snapshot = exporter.value("SELECT pg_export_snapshot()")?;
    let importer = cluster.session(1)?;
    importer.run("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
    let refused = importer.failure(&format!("SET TRANSACTION SNAPSHOT '{snapshot}'"))?;
    assert_eq!(refused.code().code(), "0A000", "{refused}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("global_snapshot")), "{refused:?}");
    importer.run("ROLLBACK")?;
    importer.run("SET shardman.global_snapshot = off")?;
    importer.run(&format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{snapshot}'; SELECT 1"
    ))?;
    let refused = importer.failure("SELECT count(*) FROM t")?;
    assert_eq!(refused.code().code(), "0A000", "{refused}");
    importer.run("ROLLBACK")?;
    // The exporter's own transaction goes on over all nodes.
    exporter.run(&format!("{WRITE}; COMMIT"))?;
    assert_eq!(writes(&cluster)?, 1);
    Ok(())
}

#[test]
fn a_cursor_with_hold_keeps_its_rows() -> anyhow::Result<()> {
    let (cluster, session) = cluster()?;
    session.run(&format!(
        "BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT id, v FROM t ORDER BY id; {WRITE}; COMMIT"
    ))?;
    assert_eq!(writes(&cluster)?, 1);
    let rows = session.rows("FETCH ALL FROM held")?;
    assert_eq!(rows.len(), 30);
    assert!(rows.iter().all(|row| row[1].as_deref() == Some("0")), "as of its DECLARE");
    session.run("CLOSE held")
}
