//! What a statement does that waited for another transaction's change of its
//! rows: on a cluster what it does on one PostgreSQL, wherever the rows are.

use std::time::Duration;

use regress::{Session, TestCluster, db_error, eventually};

type Rows = Vec<Vec<Option<String>>>;

const BOUND: Duration = Duration::from_secs(30);
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
const FILL: &str = "TRUNCATE a, b; INSERT INTO a SELECT g, g, 'old' FROM generate_series(1, 24) g;
     INSERT INTO b SELECT g, g * 10 FROM generate_series(1, 24) g";

/// What one transaction does first, and what another one then waits for. A row
/// that did not qualify before does not afterwards: without a snapshot of the
/// whole cluster it could be found where the statement arrives later.
const PAIRS: &[(&str, &str)] = &[
    // Sent whole: the row no longer fits, or fits now.
    ("UPDATE a SET v = v + 100", "UPDATE a SET t = 'new' WHERE v < 50 RETURNING id, v, t"),
    ("DELETE FROM a WHERE id % 2 = 0", "UPDATE a SET v = 0 RETURNING id, v"),
    ("UPDATE a SET v = -v WHERE id < 12", "DELETE FROM a WHERE v > 0 RETURNING id, v"),
    // Row by row: joined with a local table, which does not change.
    (
        "UPDATE a SET v = v + 100 WHERE id % 3 = 0",
        "UPDATE a SET v = a.v + b.w, t = 'joined' FROM b WHERE b.id = a.id AND a.v + b.w < 150
         RETURNING a.id, a.v, b.w",
    ),
    (
        "DELETE FROM a WHERE id % 3 = 0",
        "DELETE FROM a USING b WHERE b.id = a.id AND b.w > 50 RETURNING a.id, a.t, b.w",
    ),
    (
        "UPDATE a SET v = 70 WHERE id % 2 = 0",
        "UPDATE a SET t = 'sub' WHERE id IN (SELECT id FROM b WHERE w <= 120) AND v < 50
         RETURNING id, v",
    ),
    // The joined row itself changes meanwhile.
    (
        "UPDATE b SET w = 0; UPDATE a SET t = 'first'",
        "UPDATE a SET v = b.w FROM b WHERE b.id = a.id AND b.w >= 100 RETURNING a.id, a.v, a.t",
    ),
    ("UPDATE a SET v = v + 100", "SELECT id, v FROM a WHERE v < 110 FOR UPDATE"),
];

fn tables(cluster: &TestCluster, with: &str) -> anyhow::Result<Session> {
    let session = cluster.session(1)?;
    session.run(&format!(
        "CREATE TABLE a (id integer PRIMARY KEY, v integer, t text) {with};
         CREATE TABLE b (id integer PRIMARY KEY, w integer)"
    ))?;
    Ok(session)
}

/// What the second statement returned and left.
fn outcome(
    cluster: &TestCluster,
    first: &Session,
    pair: (&str, &str),
) -> anyhow::Result<(Rows, Rows)> {
    let watchers: Vec<Session> =
        (1..=cluster.count()?).map(|node| cluster.session(node)).collect::<Result<_, _>>()?;
    first.run(FILL)?;
    first.run("BEGIN")?;
    first.run(pair.0)?;
    let mut returned = std::thread::scope(|scope| -> anyhow::Result<_> {
        let second = scope.spawn(|| -> anyhow::Result<_> { cluster.session(1)?.rows(pair.1) });
        let waits = eventually("it waits for the first", BOUND, || {
            let mut waiting = 0;
            for watcher in &watchers {
                waiting += watcher.integer(WAITING)?;
            }
            Ok((waiting > 0).then_some(()))
        });
        first.run("COMMIT")?;
        let returned = second.join().expect("the other session does not panic");
        waits.and(returned)
    })?;
    returned.sort();
    Ok((returned, first.rows("SELECT * FROM a ORDER BY id")?))
}

#[test]
fn after_waiting_a_statement_looks_at_rows_as_they_are_now() -> anyhow::Result<()> {
    let (cluster, plain) = (TestCluster::up(3)?, TestCluster::plain()?);
    let ours = tables(&cluster, "WITH (distributed_by = 'id', num_parts = 6)")?;
    let theirs = tables(&plain, "")?;
    for pair in PAIRS {
        let expected = outcome(&plain, &theirs, *pair)?;
        assert_eq!(outcome(&cluster, &ours, *pair)?, expected, "{pair:?}");
    }
    Ok(())
}

#[test]
fn at_repeatable_read_it_fails_instead() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let first = tables(&cluster, "WITH (distributed_by = 'id', num_parts = 6)")?;
    first.run(FILL)?;
    let second = cluster.session(1)?;
    for statement in [
        "UPDATE a SET v = 0 WHERE id = 5",
        "UPDATE a SET v = 0",
        "UPDATE a SET v = b.w FROM b WHERE b.id = a.id",
        "DELETE FROM a",
        "UPDATE a SET id = id + 100",
    ] {
        second.run("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
        assert_eq!(second.integer("SELECT count(*) FROM a")?, 24);
        first.run("UPDATE a SET v = v + 1")?;
        let error = second.run(statement).expect_err(statement);
        let code = db_error(&error).map(|db| db.code().code().to_owned());
        assert_eq!(code.as_deref(), Some("40001"), "{statement}");
        second.run("ROLLBACK")?;
    }
    Ok(())
}
