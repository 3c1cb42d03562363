//! Savepoints on other nodes while requests of what is around them are under way.

use regress::{Session, TestCluster};

/// Two nodes, a session on the first, and tables of some rows on each.
fn two_nodes() -> anyhow::Result<(TestCluster, Session)> {
    let cluster = TestCluster::up(2)?;
    let session = cluster.session(1)?;
    session.run(
        "CREATE TABLE u (id integer PRIMARY KEY, filler text)
             WITH (distributed_by = 'id', num_parts = 4);
         INSERT INTO u SELECT g, repeat('x', 500) FROM generate_series(1, 20000) g",
    )?;
    Ok((cluster, session))
}

#[test]
fn rolling_back_a_savepoint_leaves_rows_alone_that_were_sent_before_it() -> anyhow::Result<()> {
    let (cluster, session) = two_nodes()?;
    for node in 1..=2 {
        // Slower than a savepoint's rollback is patient.
        cluster.session(node)?.run(
            "CREATE FUNCTION slowly(v text) RETURNS boolean LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_sleep(0.6); RETURN true; END $$",
        )?;
    }
    session.run(
        "CREATE TABLE slow (id integer PRIMARY KEY, v text CHECK (slowly(v)))
             WITH (distributed_by = 'id', num_parts = 4);
         -- Asks all nodes, needs a row of this one, and gives up.
         CREATE FUNCTION gives_up(v text) RETURNS text LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM filler FROM u LIMIT 1;
             RAISE 'gives up';
         EXCEPTION WHEN raise_exception THEN RETURN v;
         END $$",
    )?;
    // Each row is large enough to be sent by itself.
    session.run(
        "INSERT INTO slow SELECT g, gives_up(repeat('y', 100000)) FROM generate_series(1, 6) g",
    )?;
    assert_eq!(session.integer("SELECT count(*) FROM slow WHERE length(v) = 100000")?, 6);
    Ok(())
}

#[test]
fn cursors_that_are_half_read_outlive_savepoints_rolled_back_around_their_reading()
-> anyhow::Result<()> {
    let (_cluster, session) = two_nodes()?;
    session.run("BEGIN; DECLARE outer_c CURSOR FOR SELECT id FROM u ORDER BY filler, id")?;
    session.run("DECLARE streamed CURSOR FOR SELECT id, filler FROM u")?;
    assert_eq!(session.rows("FETCH 10 FROM outer_c")?.len(), 10);
    let mut seen: Vec<i64> = Vec::new();
    let read = |count: u32, seen: &mut Vec<i64>| -> anyhow::Result<usize> {
        let rows = session.rows(&format!("FETCH {count} FROM streamed"))?;
        for row in &rows {
            seen.push(row[0].as_deref().unwrap_or_default().parse()?);
        }
        Ok(rows.len())
    };
    read(100, &mut seen)?;
    for round in 0..10 {
        session.run("SAVEPOINT s")?;
        // Rows on their way to `streamed` when the savepoint fails, and a scan
        // of its own that is left half read.
        session.run("DECLARE inner_c CURSOR FOR SELECT * FROM u")?;
        assert_eq!(session.rows("FETCH 50 FROM inner_c")?.len(), 50);
        if round % 2 == 0 {
            read(1000, &mut seen)?;
        }
        session.failure("SELECT 1 / (id - id) FROM u")?;
        session.run("ROLLBACK TO s")?;
        read(100, &mut seen)?;
    }
    while read(5000, &mut seen)? > 0 {}
    let rest = session.rows("FETCH ALL FROM outer_c")?;
    assert_eq!(rest.len(), 20000 - 10);
    session.run("COMMIT")?;
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((count, seen.len()), (20000, 20000), "rows came twice or not at all");
    Ok(())
}

#[test]
fn a_hundred_cursors_read_in_turn_on_one_connection_each_bring_their_own_rows() -> anyhow::Result<()>
{
    let (_cluster, session) = two_nodes()?;
    session.run("BEGIN")?;
    for i in 0..100 {
        session.run(&format!("DECLARE c{i} CURSOR FOR SELECT id FROM u WHERE id % 100 = {i}"))?;
    }
    for _ in 0..3 {
        for i in 0..100 {
            let rows = session.rows(&format!("FETCH 70 FROM c{i}"))?;
            let all_fit = rows
                .iter()
                .flatten()
                .flatten()
                .all(|id| id.parse().is_ok_and(|id: i64| id % 100 == i));
            assert!(all_fit, "cursor {i}: {rows:?}");
        }
    }
    for i in 0..100 {
        assert_eq!(session.rows(&format!("FETCH ALL FROM c{i}"))?.len(), 0, "cursor {i}");
    }
    session.run("COMMIT")
}
