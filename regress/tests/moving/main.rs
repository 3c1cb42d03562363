//! Partitions move while the application writes and reads.

mod checks;
mod client;
mod kills;
mod survivor;

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use checks::check_rows;
use client::under_load;
use regress::{TestCluster, jobs};

const MOVE_BOUND: Duration = Duration::from_secs(150);
const TABLES: &str = r#"
    CREATE TABLE kind (id int PRIMARY KEY) WITH (replicated);
    INSERT INTO kind VALUES (1);
    CREATE TABLE "Order's" (id bigint PRIMARY KEY, client int NOT NULL, value text, twice bigint GENERATED ALWAYS AS (id * 2) STORED,
        serial bigint GENERATED ALWAYS AS IDENTITY, CHECK (client >= 0), UNIQUE (id, value)) WITH (distributed_by = 'id', num_parts = 4);
    CREATE TABLE line (id bigint, n int, value text, noted int, kind int DEFAULT 1 REFERENCES kind) WITH (distributed_by = 'id', colocate_with = '"Order''s"');
    CREATE TABLE empty (id bigint, "A b" json) WITH (distributed_by = 'id', colocate_with = '"Order''s"');
    ALTER TABLE line ADD CONSTRAINT of_order FOREIGN KEY (id) REFERENCES "Order's" ON DELETE CASCADE;
    CREATE INDEX ON "Order's" (client);
    CREATE INDEX ON line (id, n)
"#;

/// Its function has to be on a node before the node is added.
const TRIGGER: &str = "
    SET shardman.broadcast_ddl = on;
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.noted := coalesce(NEW.noted, 0) + 1; RETURN NEW; END';
    RESET shardman.broadcast_ddl;
    CREATE TRIGGER note BEFORE INSERT OR UPDATE ON line FOR EACH ROW EXECUTE FUNCTION note();
";

fn move_part(cluster: &TestCluster, part: &str, destination: i64) -> anyhow::Result<()> {
    let session = cluster.session(1)?;
    let job = session.integer(&format!("SELECT shardman.move_part('{part}', {destination})"))?;
    jobs::succeeded(cluster, job)
}

#[test]
fn rows_and_clients_stay_right_while_partitions_move() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let session = cluster.session(1)?;
    session.run(TABLES)?;
    session.run(TRIGGER)?;
    under_load(&cluster, 3, || {
        for round in 0..6 {
            let (part, node) = (round % 4, session.integer(&format!(
                "SELECT node_id % 3 + 1 FROM shardman.parts WHERE rel = 'line'::regclass AND pnum = {}", round % 4))?);
            let part = session.value(&format!(
                "SELECT part_name FROM shardman.parts WHERE rel = 'line'::regclass AND pnum = {part}"))?;
            move_part(&cluster, &part, node)?;
        }
        Ok(())
    })?;
    let twice = session.integer(
        r#"SELECT count(*) FROM (SELECT serial FROM "Order's" GROUP BY serial HAVING count(*) > 1) AS s"#,
    )?;
    ensure!(twice == 0, "{twice} numbers were given twice");
    // What the keys say holds wherever the partitions are now.
    for id in 1..=12 {
        let id = 9_000_000 + id;
        for (sql, code) in [
            (format!(r#"INSERT INTO line VALUES ({id}, 1, 'x')"#), "23503"),
            (format!(r#"INSERT INTO "Order's" VALUES ({id}, 1, 'x')"#), "00000"),
            (format!(r#"INSERT INTO "Order's" VALUES ({id}, 1, 'x')"#), "23505"),
            (format!(r#"INSERT INTO line VALUES ({id}, 1, 'x', 0, 2)"#), "23503"),
            (format!(r#"INSERT INTO "Order's" VALUES (-{id}, -1, 'x')"#), "23514"),
        ] {
            match code {
                "00000" => session.run(&sql)?,
                _ => {
                    let error = session.failure(&sql)?;
                    ensure!(error.code().code() == code, "{sql}: {error:?}");
                }
            }
        }
    }
    check_rows(&cluster, &[1, 2, 3])
}

#[test]
fn what_is_on_the_move_is_seen_kept_from_ddl_and_can_be_stopped() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let session = cluster.session(1)?;
    session.run(TABLES)?;
    session.run(
        r#"INSERT INTO "Order's" SELECT i, 1, repeat('x', 100) FROM generate_series(1, 4000) AS i"#,
    )?;
    let part = session.rows(
        r#"SELECT part_name, 3 - node_id FROM shardman.parts WHERE rel = 'line'::regclass AND pnum = 0"#,
    )?;
    let [Some(part), Some(destination)] = part[0].as_slice() else { bail!("{part:?}") };
    for node in 1..=2 {
        let session = cluster.session(node)?;
        session.run("ALTER SYSTEM SET shardman.move_rate = '2kB'")?;
        session.run("SELECT pg_reload_conf()")?;
    }
    for (sql, code) in [
        ("SELECT shardman.move_part('shard_1_nothing_0', 2)".to_owned(), "42704"),
        (format!("SELECT shardman.move_part('{part}', 77)"), "42704"),
        (format!("SELECT shardman.move_part('{part}', 3 - {destination})"), "55000"),
        (format!("SELECT shardman.move_part('{part}', {destination}, {destination})"), "55000"),
        ("SELECT shardman.rebalance('pg_class')".to_owned(), "42809"),
        ("SELECT shardman.rebalance(by => 'color')".to_owned(), "22023"),
    ] {
        let error = session.failure(&sql)?;
        ensure!(error.code().code() == code, "{sql}: {error:?}");
    }

    let job = session.integer(&format!("SELECT shardman.move_part('{part}', {destination})"))?;
    let old = cluster.session(2)?;
    regress::eventually("rows are copied", MOVE_BOUND, || {
        let rows = session.rows(&format!(
            "SELECT phase, bytes_total, part_names FROM shardman.stat_progress_move
             WHERE job_id = {job} AND phase = 'copying' AND rows_copied > 0 AND bytes_copied > 0"
        ))?;
        Ok((!rows.is_empty()).then_some(()))
    })?;
    for sql in [
        r#"ALTER TABLE "Order's" ADD COLUMN more int"#,
        "CREATE INDEX ON line (value)",
        "DROP TABLE empty",
        r#"CREATE TABLE another (id bigint) WITH (distributed_by = 'id', colocate_with = '"Order''s"')"#,
    ] {
        let error = cluster.session(2)?.failure(sql)?;
        ensure!(error.code().code() == "55006", "{sql}: {error:?}");
        ensure!(
            error.detail().is_some_and(|detail| detail.contains(&format!("Job {job} "))),
            "{error:?}"
        );
    }
    ensure!(
        session.rows("SELECT * FROM shardman.leftovers()")?.is_empty(),
        "at work, nothing is left over"
    );
    session.run(&format!("SELECT shardman.cancel_cmd({job})"))?;
    let status = session.value(&format!("SELECT shardman.wait_cmd({job})"))?;
    ensure!(status == "canceled", "{status}");
    check_rows(&cluster, &[1, 2])?;
    session.run(r#"ALTER TABLE "Order's" ADD COLUMN more int DEFAULT 7"#)?;

    // A snapshot from before the switch does not see the rows where they are now.
    for node in 1..=2 {
        let session = cluster.session(node)?;
        session.run("ALTER SYSTEM RESET shardman.move_rate")?;
        session.run("SELECT pg_reload_conf()")?;
    }
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")?;
    let cursor = cluster.session(1)?;
    cursor.run(r#"BEGIN; DECLARE c CURSOR FOR SELECT id FROM "Order's"; FETCH 5 FROM c"#)?;
    let job = session.integer(&format!("SELECT shardman.move_part('{part}', {destination})"))?;
    regress::eventually("the switch waits for the cursor", MOVE_BOUND, || {
        let rows = session.rows(&format!(
            "SELECT phase FROM shardman.stat_progress_move WHERE job_id = {job} AND phase = 'catching up'"
        ))?;
        Ok((!rows.is_empty()).then_some(()))
    })?;
    std::thread::sleep(Duration::from_secs(1));
    let rest = cursor.rows("FETCH ALL FROM c")?.len();
    ensure!(rest == 3995, "{rest} rows");
    cursor.run("COMMIT")?;
    jobs::succeeded(&cluster, job)?;
    let error = old.failure(r#"SELECT count(*) FROM "Order's""#)?;
    ensure!(error.code().code() == "40001", "{error:?}");
    old.run("ROLLBACK")?;
    ensure!(
        old.integer(r#"SELECT count(*) FROM "Order's" WHERE more = 7"#)? == 4000,
        "rows are gone"
    );
    check_rows(&cluster, &[1, 2])
}

#[test]
fn a_move_goes_on_after_the_death_of_any_node() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let session = cluster.session(1)?;
    session.run(TABLES)?;
    session.run(
        r#"INSERT INTO "Order's" SELECT i, 1, repeat('x', 100) FROM generate_series(1, 4000) AS i;
           INSERT INTO line SELECT i, 1, 'x' FROM generate_series(1, 4000) AS i;
           INSERT INTO empty SELECT i, '{}' FROM generate_series(1, 400) AS i"#,
    )?;
    drop(session);
    let rate = |how: &str| -> anyhow::Result<()> {
        for node in 1..=3 {
            let session = cluster.session(node)?;
            session.run(&format!("ALTER SYSTEM {how}"))?;
            session.run("SELECT pg_reload_conf()")?;
        }
        Ok(())
    };
    for (victim, phase) in
        [("source", "copying"), ("driver", "copying"), ("destination", "catching up")]
    {
        let source = cluster.session(1)?.integer(
            "SELECT node_id FROM shardman.parts WHERE rel = 'line'::regclass AND pnum = 0",
        )?;
        let (destination, driver) = (source % 3 + 1, (source + 1) % 3 + 1);
        let node = |id: i64| u16::try_from(id).expect("ids are small");
        let is_copying = phase == "copying";
        rate(&format!("SET shardman.move_rate = '{}kB'", if is_copying { 2 } else { 20 }))?;
        let session = cluster.session(node(driver))?;
        let part = session.value(
            "SELECT part_name FROM shardman.parts WHERE rel = 'line'::regclass AND pnum = 0",
        )?;
        let job =
            session.integer(&format!("SELECT shardman.move_part('{part}', {destination})"))?;
        let reach = |phase: &str| {
            regress::eventually("the phase is reached", MOVE_BOUND, || {
                let rows = session.rows(&format!(
                    "SELECT FROM shardman.stat_progress_move WHERE job_id = {job} AND phase = '{phase}'
                     AND (phase <> 'copying' OR rows_copied > 0)"
                ))?;
                Ok((!rows.is_empty()).then_some(()))
            })
        };
        reach("copying")?;
        let holder = cluster.session(node(source))?;
        if !is_copying {
            // Keeps the switch waiting.
            holder.run("BEGIN; SELECT count(*) FROM line")?;
            reach(phase)?;
        }
        rate("RESET shardman.move_rate")?;
        drop(session);
        let victim_node = node(match victim {
            "source" => source,
            "destination" => destination,
            _ => driver,
        });
        cluster.on_node("kill", victim_node)?;
        cluster.on_node("start", victim_node)?;
        drop(holder);
        jobs::succeeded(&cluster, job).with_context(|| format!("{victim} killed while {phase}"))?;
        for node in 1..=3 {
            let session = cluster.session(node)?;
            let sums = session.rows(
                r#"SELECT (SELECT sum(id) FROM "Order's"), (SELECT sum(id) FROM line), (SELECT sum(id) FROM empty)"#,
            )?;
            let expected = ["8002000", "8002000", "80200"].map(|sum| Some(sum.to_owned()));
            ensure!(sums == [expected.to_vec()], "{victim} killed while {phase}: {sums:?}");
        }
        check_rows(&cluster, &[1, 2, 3])
            .with_context(|| format!("{victim} killed while {phase}"))?;
    }
    Ok(())
}
