//! A replicated table has the same rows on every node, whoever writes it how.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use regress::{Session, TestCluster};

/// Three nodes and a session on each.
struct Stage {
    cluster: TestCluster,
    nodes: Vec<Session>,
}

impl Stage {
    fn set() -> anyhow::Result<Self> {
        let cluster = TestCluster::up(3)?;
        let nodes = (1..=3).map(|node| cluster.session(node)).collect::<Result<Vec<_>, _>>()?;
        Ok(Stage { cluster, nodes })
    }

    /// What every node answers; an error if they differ.
    fn agreed(&self, sql: &str) -> anyhow::Result<String> {
        let answers =
            self.nodes.iter().map(|node| node.value(sql)).collect::<Result<Vec<_>, _>>()?;
        anyhow::ensure!(answers.iter().all(|a| *a == answers[0]), "{sql}: {answers:?}");
        Ok(answers[0].clone())
    }

    fn rows(&self, table: &str) -> anyhow::Result<String> {
        self.agreed(&format!(
            "SELECT coalesce(string_agg(t::text, ' ' ORDER BY t::text COLLATE \"C\"), '') FROM {table} AS t"
        ))
    }

    /// Runs a statement on node `at` and finds its effect on all.
    fn writes(&self, at: usize, table: &str, sql: &str) -> anyhow::Result<()> {
        let before = self.rows(table)?;
        self.nodes[at].run(sql)?;
        let after = self.rows(table).map_err(|error| error.context(format!("after: {sql}")))?;
        anyhow::ensure!(before != after, "nothing was changed by: {sql}");
        Ok(())
    }
}

#[test]
fn every_write_reaches_every_node() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    stage.nodes[0].run(
        "SET shardman.broadcast_ddl = on;
         CREATE TYPE mood AS ENUM ('well', 'ill');
         SET shardman.broadcast_ddl = off;
         CREATE TABLE t (id integer, part text COLLATE \"C\", mood mood DEFAULT 'well', list integer[],
                         twice integer GENERATED ALWAYS AS (id * 2) STORED, n integer CHECK (n > 0),
                         PRIMARY KEY (part, id)) WITH (replicated, fillfactor = 70);
         CREATE TABLE other (id integer PRIMARY KEY) WITH (global = true)",
    )?;
    let writes = [
        "INSERT INTO t VALUES (1, 'a', 'ill', '{1,NULL,3}', DEFAULT, 1)",
        "INSERT INTO t SELECT i, 'many' FROM generate_series(1, 20000) AS i",
        "DELETE FROM t WHERE part = 'many' AND id > 5",
        "UPDATE t SET n = 4",
        // Each row takes the place of the next, in the order of the heap.
        "UPDATE t SET id = -id, part = 'moved' WHERE part = 'many'",
        "UPDATE t SET id = id + 1 WHERE part = 'moved'",
        "INSERT INTO t (id, part) VALUES (1, 'a'), (9, 'x')
             ON CONFLICT (part, id) DO UPDATE SET n = t.n + 1",
        "INSERT INTO t (id, part) VALUES (1, 'a'), (10, 'x') ON CONFLICT DO NOTHING",
        "MERGE INTO t USING (VALUES (1, 'a'), (9, 'x'), (11, 'x')) AS v(i, p) ON id = i AND part = p
             WHEN MATCHED AND i = 1 THEN DELETE
             WHEN MATCHED THEN UPDATE SET n = 77, id = 99
             WHEN NOT MATCHED THEN INSERT (id, part) VALUES (i, p)",
        "WITH gone AS (DELETE FROM t WHERE id = 11 RETURNING *)
             INSERT INTO t (id, part) SELECT id + 1, part FROM gone",
        "BEGIN; SAVEPOINT s; DELETE FROM t; ROLLBACK TO s; UPDATE t SET mood = 'ill' WHERE id = 12; COMMIT",
        "DO $$ BEGIN
             UPDATE t SET n = 9 WHERE id = 12;
             BEGIN INSERT INTO t (id, part) VALUES (12, 'x');
             EXCEPTION WHEN unique_violation THEN INSERT INTO t (id, part) VALUES (13, 'x'); END;
         END $$",
        "PREPARE change AS UPDATE t SET n = $1 WHERE id = $2; EXECUTE change(3, 13)",
        "SET session_replication_role = replica; UPDATE t SET n = 8 WHERE id = 13; RESET session_replication_role",
        "TRUNCATE t",
    ];
    for (at, sql) in writes.iter().enumerate() {
        stage.writes(at % 3, "t", sql)?;
    }
    assert_eq!(stage.rows("t")?, "");

    // The writer sees what it has written on every node that it asks.
    stage.nodes[0].run(
        "CREATE TABLE s (id integer PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 6)",
    )?;
    let session = &stage.nodes[1];
    session.run("INSERT INTO s SELECT generate_series(1, 60)")?;
    session.run("BEGIN; INSERT INTO other SELECT generate_series(1, 10)")?;
    assert_eq!(session.integer("SELECT count(*) FROM s JOIN other USING (id)")?, 10);
    let seen = "SELECT string_agg(n, ',') FROM shardman.broadcast_query('SELECT count(*) FROM other') AS q(n text)";
    assert_eq!(session.value(seen)?, "10,10,10");
    session.run("ROLLBACK")?;
    assert_eq!(stage.rows("other")?, "");

    // A row that breaks a constraint is no row anywhere, and keeps its report.
    let error =
        stage.nodes[2].failure("INSERT INTO t (id, part, n) VALUES (1, 'a', 1), (2, 'a', 0)")?;
    assert_eq!((error.code().code(), error.constraint()), ("23514", Some("t_n_check")));
    assert_eq!(stage.rows("t")?, "");
    triggers_fire_once(&stage)?;
    writers_queue_up(&stage)?;
    foreign_keys_hold(&stage)?;
    copies_are_compared_and_repaired(&stage)?;
    tables_are_turned(&stage)?;
    joins_run_where_the_partition_is(&stage)?;
    ddl_is_the_same_everywhere(&stage)
}

fn triggers_fire_once(stage: &Stage) -> anyhow::Result<()> {
    stage.nodes[0].run(
        "SET shardman.broadcast_ddl = on;
         CREATE TABLE fired (what text);
         CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO fired VALUES (TG_OP || ' ' || TG_LEVEL);
             IF pg_trigger_depth() = 1 AND TG_LEVEL = 'ROW' THEN
                 UPDATE nested SET n = n + 100 WHERE id = NEW.id;
                 DELETE FROM nested WHERE id = NEW.id - 1000;
                 INSERT INTO nested VALUES (NEW.id + 2000, NEW.n + 7000) ON CONFLICT DO NOTHING;
             END IF;
             RETURN NULL; END $$;
         SET shardman.broadcast_ddl = off;
         CREATE TABLE nested (id integer PRIMARY KEY, n integer UNIQUE) WITH (replicated);
         INSERT INTO nested VALUES (1, 1), (2, 2);
         CREATE TRIGGER a AFTER INSERT OR UPDATE ON nested FOR EACH ROW EXECUTE FUNCTION fire();
         CREATE TRIGGER z AFTER INSERT OR UPDATE ON nested FOR EACH STATEMENT EXECUTE FUNCTION fire()",
    )?;
    // The trigger changes and deletes what its statement has written.
    stage.writes(1, "nested", "INSERT INTO nested VALUES (1001, 11), (1002, 12)")?;
    assert_eq!(stage.rows("nested")?, "(1001,111) (1002,112) (3001,7011) (3002,7012)");
    stage.writes(2, "nested", "UPDATE nested SET n = n + 5 WHERE id = 1001")?;
    assert_eq!(stage.rows("nested")?, "(1001,216) (1002,112) (3001,7011) (3002,7012)");
    Ok(())
}

/// Writers of one row on all nodes wait for each other where it is safe.
fn writers_queue_up(stage: &Stage) -> anyhow::Result<()> {
    const WRITES: i64 = 25;
    stage.nodes[0].run(
        "CREATE TABLE counter (id integer PRIMARY KEY, n bigint) WITH (replicated);
         INSERT INTO counter VALUES (1, 0)",
    )?;
    thread::scope(|scope| {
        let writers: Vec<_> = (0..6u16)
            .map(|at| {
                scope.spawn(move || {
                    let session = stage.cluster.session(at % 3 + 1)?;
                    (0..WRITES)
                        .try_for_each(|_| session.run("UPDATE counter SET n = n + 1 WHERE id = 1"))
                })
            })
            .collect();
        writers.into_iter().try_for_each(|writer| {
            writer.join().unwrap_or_else(|_| anyhow::bail!("a writer panicked"))
        })
    })?;
    assert_eq!(stage.rows("counter")?, format!("(1,{})", 6 * WRITES));

    // Who has locked a row on one node holds up writers of the table on another.
    stage.nodes[1].run("BEGIN; SELECT * FROM counter WHERE id = 1 FOR UPDATE")?;
    let waits =
        "SET lock_timeout = '200ms'; SET statement_timeout = '500ms'; UPDATE counter SET n = 0";
    assert_eq!(stage.nodes[2].failure(waits)?.code().code(), "57014");
    stage.nodes[2].run("RESET lock_timeout; RESET statement_timeout")?;
    // Other keys are written meanwhile by who has locked one.
    stage.nodes[1].run("COMMIT; BEGIN; UPDATE counter SET n = 1 WHERE id = 1")?;
    stage.nodes[2]
        .run("INSERT INTO counter VALUES (2, 2); UPDATE counter SET n = n + 1 WHERE id = 2")?;
    stage.nodes[1].run("UPDATE counter SET n = n + 1 WHERE id IN (1, 2); COMMIT")?;
    assert_eq!(stage.rows("counter")?, "(1,2) (2,4)");
    Ok(())
}

/// Of replicated and of sharded tables, through every node.
fn foreign_keys_hold(stage: &Stage) -> anyhow::Result<()> {
    let [first, second, third] = &stage.nodes[..] else { anyhow::bail!("three nodes") };
    first.run(
        "CREATE TABLE ref (id integer PRIMARY KEY, name text) WITH (replicated);
         CREATE TABLE sub (id integer PRIMARY KEY, r integer REFERENCES ref ON DELETE CASCADE,
                           up integer REFERENCES sub) WITH (replicated);
         CREATE TABLE cascading (id integer PRIMARY KEY, r integer REFERENCES ref ON DELETE CASCADE)
             WITH (distributed_by = 'id', num_parts = 6);
         CREATE TABLE restricting (id integer PRIMARY KEY, r integer)
             WITH (distributed_by = 'id', num_parts = 6);
         INSERT INTO ref SELECT i, 'n' || i FROM generate_series(1, 20) AS i",
    )?;
    second.run("ALTER TABLE restricting ADD FOREIGN KEY (r) REFERENCES ref")?;
    third.run(
        "INSERT INTO sub SELECT i, i, 1 FROM generate_series(1, 20) AS i;
         INSERT INTO cascading SELECT i, i % 20 + 1 FROM generate_series(1, 60) AS i",
    )?;
    for (at, sql) in [
        "INSERT INTO sub VALUES (100, 99)",
        "INSERT INTO cascading SELECT i, 99 FROM generate_series(100, 120) AS i",
        "DELETE FROM sub WHERE id = 1",
        "TRUNCATE ref",
    ]
    .iter()
    .enumerate()
    {
        let code = stage.nodes[at % 3].failure(sql)?.code().clone();
        assert!(["23503", "0A000"].contains(&code.code()), "{sql}: {}", code.code());
    }
    second.run("DELETE FROM ref WHERE id BETWEEN 2 AND 5")?;
    assert_eq!(first.integer("SELECT count(*) FROM cascading")?, 48);
    assert_eq!(stage.agreed("SELECT count(*) FROM sub")?, "16");
    // One row is held on whatever node it is.
    for (at, id) in (0..3).zip(1..=3) {
        first.run(&format!("INSERT INTO restricting VALUES ({id}, 7)"))?;
        assert_eq!(stage.nodes[at].failure("DELETE FROM ref WHERE id = 7")?.code().code(), "23503");
        first.run("DELETE FROM restricting")?;
    }
    third.run("TRUNCATE ref CASCADE")?;
    assert_eq!(first.integer("SELECT count(*) FROM cascading")?, 0);
    assert_eq!(stage.agreed("SELECT count(*) FROM sub")?, "0");
    assert_eq!(stage.rows("ref")?, "");
    let error = first.failure(
        "CREATE TABLE no (id integer PRIMARY KEY REFERENCES cascading) WITH (replicated)",
    )?;
    assert_eq!(error.code().code(), "0A000");
    let error = first.failure("ALTER TABLE ref ADD FOREIGN KEY (id) REFERENCES cascading")?;
    assert_eq!(error.code().code(), "0A000");

    // Who refers to a row and who deletes it, on two nodes, queue up.
    first.run("INSERT INTO ref VALUES (1, 'one'); BEGIN; INSERT INTO sub VALUES (1, 1)")?;
    let waits = "SET statement_timeout = '500ms'; DELETE FROM ref WHERE id = 1";
    assert_eq!(second.failure(waits)?.code().code(), "57014");
    first.run("COMMIT")?;
    second.run("RESET statement_timeout; DELETE FROM ref WHERE id = 1")?;
    assert_eq!(stage.rows("sub")?, "");
    Ok(())
}

/// Rows that were changed behind the triggers' back are named and brought back.
fn copies_are_compared_and_repaired(stage: &Stage) -> anyhow::Result<()> {
    let first = &stage.nodes[0];
    first.run(
        "CREATE TABLE checked (a integer, b text, n integer, PRIMARY KEY (a, b)) WITH (replicated);
         INSERT INTO checked SELECT i, 'b' || i, i FROM generate_series(1, 100) AS i",
    )?;
    let check = "SELECT coalesce(string_agg(node_id || ' ' || key || ' ' || difference, '; ' ORDER BY node_id, key), '')
                 FROM shardman.check_replicated('checked')";
    assert_eq!(first.value(check)?, "");
    // As by hand in the file system: no trigger of ours sees it.
    let by_hand = |node: u16, sql: &str| {
        stage.cluster.session(node)?.run(&format!(
            "BEGIN; UPDATE pg_trigger SET tgenabled = 'D' WHERE tgrelid = 'checked'::regclass; {sql};
             UPDATE pg_trigger SET tgenabled = 'A' WHERE tgrelid = 'checked'::regclass; COMMIT"
        ))
    };
    by_hand(2, "DELETE FROM checked WHERE a = 7")?;
    by_hand(3, "UPDATE checked SET n = 0 WHERE a = 8; INSERT INTO checked VALUES (0, 'more', 1)")?;
    assert_eq!(
        first.value(check)?,
        "2 7, b7 the row is missing there; 3 0, more the row is only there; 3 8, b8 the rows differ"
    );
    // A statement that meets the difference says so, and does nothing anywhere.
    let error = first.failure("UPDATE checked SET n = n + 1")?;
    assert_eq!(error.code().code(), "XX001", "{}", error.message());
    assert_eq!(first.integer("SELECT shardman.repair_replicated('checked')")?, 3);
    assert_eq!(first.value(check)?, "");
    stage.writes(1, "checked", "UPDATE checked SET n = n + 1")?;
    first.run("SET shardman.broadcast_ddl = on; CREATE ROLE stranger; SET shardman.broadcast_ddl = off; SET ROLE stranger")?;
    assert_eq!(first.failure(check)?.code().code(), "42501");
    first.run("RESET ROLE")
}

fn tables_are_turned(stage: &Stage) -> anyhow::Result<()> {
    let [first, second, third] = &stage.nodes[..] else { anyhow::bail!("three nodes") };
    second.run(
        "CREATE TABLE turned (id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, note text, n bigserial);
         INSERT INTO turned (note) SELECT repeat('n', i % 100) FROM generate_series(1, 5000) AS i;
         SELECT shardman.replicate_table('turned')",
    )?;
    assert_eq!(
        stage.agreed("SELECT count(*) || md5(string_agg(note, '' ORDER BY id)) FROM turned")?.len(),
        36
    );
    stage.writes(2, "turned", "UPDATE turned SET note = 'third' WHERE id = 1")?;
    // What its columns draw goes on from there, on every node.
    for node in &stage.nodes {
        node.run("INSERT INTO turned (note) VALUES ('numbered')")?;
    }
    let numbers = "SELECT count(DISTINCT id) || ' ' || count(DISTINCT n) || ' ' || (min(n) > 5000) FROM turned WHERE note = 'numbered'";
    assert_eq!(stage.agreed(numbers)?, "3 3 true");
    first.run("DELETE FROM turned WHERE note = 'numbered'")?;
    third.run("SELECT shardman.unreplicate_table('turned')")?;
    assert_eq!(third.integer("SELECT count(*) FROM turned")?, 5000);
    third.run("DELETE FROM turned")?;
    for node in [first, second] {
        assert_eq!(node.value("SELECT to_regclass('turned') IS NULL")?, "t");
    }
    second.run("CREATE TABLE keyless (id integer)")?;
    assert_eq!(
        second.failure("SELECT shardman.replicate_table('keyless')")?.code().code(),
        "55000"
    );
    second.run("DROP TABLE keyless")
}

fn joins_run_where_the_partition_is(stage: &Stage) -> anyhow::Result<()> {
    let session = &stage.nodes[0];
    session.run(
        "CREATE TABLE kinds (id integer PRIMARY KEY, name text) WITH (replicated);
         INSERT INTO kinds SELECT i, 'kind' || i FROM generate_series(0, 9) AS i;
         CREATE TABLE things (id integer PRIMARY KEY, kind integer) WITH (distributed_by = 'id', num_parts = 6);
         INSERT INTO things SELECT i, i % 10 FROM generate_series(1, 60) AS i",
    )?;
    for id in 1..=12 {
        let query = format!(
            "SELECT k.name FROM things AS t JOIN kinds AS k ON k.id = t.kind WHERE t.id = {id}"
        );
        let plan = session.rows(&format!("EXPLAIN (COSTS OFF) {query}"))?;
        let plan = plan.into_iter().flatten().flatten().collect::<Vec<_>>().join(" ");
        assert!(plan.contains("Router"), "{plan}");
        assert_eq!(session.value(&query)?, format!("kind{}", id % 10));
    }
    let all =
        "SELECT count(*) FROM things AS t JOIN kinds AS k ON k.id = t.kind WHERE k.name = 'kind3'";
    assert_eq!(session.integer(all)?, 6);
    session.run(
        "MERGE INTO kinds USING (SELECT kind, count(*) AS n FROM things GROUP BY kind) AS t ON t.kind = kinds.id
             WHEN MATCHED THEN UPDATE SET name = name || n",
    )?;
    assert_eq!(stage.agreed("SELECT count(*) FROM kinds WHERE name LIKE '%6'")?, "10");
    Ok(())
}

fn ddl_is_the_same_everywhere(stage: &Stage) -> anyhow::Result<()> {
    const DIGEST: &str = "SELECT shardman.schema_digest()";
    stage.nodes[0].run(
        "SET shardman.broadcast_ddl = on; CREATE ROLE reader; SET shardman.broadcast_ddl = off;
         CREATE TABLE d (id integer PRIMARY KEY, note text) WITH (replicated);
         INSERT INTO d VALUES (1, 'one')",
    )?;
    let statements = [
        "ALTER TABLE d ADD COLUMN extra integer DEFAULT 7, ADD CHECK (extra > 0)",
        // Each node would draw another one.
        "ALTER TABLE d ADD COLUMN token uuid DEFAULT gen_random_uuid()",
        "CREATE UNIQUE INDEX ON d (note)",
        "CREATE INDEX named ON d (lower(note))",
        "ALTER INDEX named RENAME TO renamed",
        "DROP INDEX renamed",
        "ALTER TABLE d ALTER COLUMN extra TYPE bigint USING extra + 1",
        "ALTER TABLE d SET (fillfactor = 40)",
        "GRANT SELECT ON d TO reader",
        "COMMENT ON COLUMN d.note IS 'a column'",
        "CREATE POLICY own ON d FOR SELECT TO reader USING (id < 10)",
        "ALTER TABLE d RENAME COLUMN id TO key",
        "ALTER TABLE d DROP COLUMN extra",
        "ALTER TABLE d RENAME TO e",
    ];
    for (at, sql) in statements.iter().enumerate() {
        let before = stage.agreed(DIGEST)?;
        stage.nodes[at % 3].run(sql)?;
        let after = stage.agreed(DIGEST).map_err(|error| error.context(format!("after: {sql}")))?;
        anyhow::ensure!(before != after, "nothing was changed by: {sql}");
    }
    stage.writes(2, "e", "INSERT INTO e VALUES (2, 'two'), (3, 'three')")?;
    let reader = &stage.nodes[1];
    reader.run("SET ROLE reader")?;
    assert_eq!(reader.failure("INSERT INTO e VALUES (4, 'four')")?.code().code(), "42501");
    reader.run("RESET ROLE")?;

    for (sql, code) in [
        ("CREATE TABLE no (id integer) WITH (replicated)", "55000"),
        ("CREATE TABLE no (id integer PRIMARY KEY DEFERRABLE) WITH (replicated)", "55000"),
        ("CREATE TEMP TABLE no (id integer PRIMARY KEY) WITH (replicated)", "0A000"),
        ("CREATE UNLOGGED TABLE no (id integer PRIMARY KEY) WITH (replicated)", "0A000"),
        (
            "CREATE TABLE no (id integer PRIMARY KEY) PARTITION BY HASH (id) WITH (replicated)",
            "0A000",
        ),
        (
            "CREATE TABLE no (id integer PRIMARY KEY) WITH (replicated, num_parts = 3, distributed_by = 'id')",
            "42601",
        ),
        ("CREATE TABLE no (id integer PRIMARY KEY) WITH (replicated = 'perhaps')", "22023"),
        ("CREATE TABLE no WITH (replicated) AS SELECT 1", "0A000"),
        ("CREATE TABLE no () INHERITS (e)", "42809"),
        ("ALTER TABLE e DROP CONSTRAINT d_pkey", "55000"),
        ("ALTER TABLE e DISABLE TRIGGER ALL", "42501"),
        ("ALTER TABLE e DISABLE TRIGGER shardman_update", "42501"),
        ("ALTER TABLE e SET UNLOGGED", "0A000"),
        ("SELECT shardman.apply_changes(1, 1, 1, '\\x54')", "42501"),
        ("SELECT shardman.lock_writers(1, 't1')", "42501"),
    ] {
        let error = stage.nodes[1].failure(sql)?;
        assert_eq!(error.code().code(), code, "{sql}: {}", error.message());
    }
    stage.agreed(DIGEST)?;
    stage.nodes[1].run("DROP TABLE e")?;
    assert_eq!(
        stage.agreed("SELECT count(*) FROM shardman.global_tables WHERE relname = 'e'")?,
        "0"
    );
    stage.agreed("SELECT to_regclass('e') IS NULL")?;
    Ok(())
}

/// What a client has written, and the longest that a statement of its took.
#[derive(Default)]
struct Load {
    rounds: i64,
    longest: Duration,
}

/// Changes, inserts and deletes until told to stop. No statement fails.
fn load(cluster: &TestCluster, at: u16, done: &AtomicBool) -> anyhow::Result<Load> {
    let session = cluster.session(at % 2 + 1)?;
    let mut load = Load::default();
    while !done.load(Ordering::Relaxed) {
        let own = 100_000 * i64::from(at + 1) + load.rounds;
        for sql in [
            format!("UPDATE t SET n = n + 1 WHERE id = {}", load.rounds % 50 + 1),
            format!("INSERT INTO t VALUES ({own}, 1), (-{own}, 1)"),
            // Its place in the other unique index is taken by another row.
            format!("DELETE FROM t WHERE id = -{own} RETURNING id"),
            format!("INSERT INTO t VALUES (-{own}, 1)"),
            format!("DELETE FROM t WHERE id = -{own}"),
            format!("UPDATE t SET id = id + 50000 WHERE id = {own}"),
        ] {
            let begun = Instant::now();
            session.run(&sql)?;
            load.longest = load.longest.max(begun.elapsed());
        }
        load.rounds += 1;
    }
    Ok(load)
}

/// Writers of nodes 1 and 2 while `change` is made to the cluster.
fn under_load(
    cluster: &TestCluster,
    change: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<(i64, Duration)> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let done = &done;
        let writers: Vec<_> =
            (0..4).map(|at| scope.spawn(move || load(cluster, at, done))).collect();
        let changed = change();
        done.store(true, Ordering::Relaxed);
        let loads = writers
            .into_iter()
            .map(|writer| writer.join().unwrap_or_else(|_| anyhow::bail!("a writer panicked")));
        let loads = loads.collect::<anyhow::Result<Vec<_>>>()?;
        changed?;
        let longest = loads.iter().map(|load| load.longest).max().unwrap_or_default();
        anyhow::Ok((loads.iter().map(|load| load.rounds).sum(), longest))
    })
}

/// Rows that a newcomer gets and those written meanwhile make one copy; and nobody
/// fails when a node leaves.
#[test]
fn nodes_join_and_leave_under_load() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let session = cluster.session(1)?;
    session.run(
        "CREATE TABLE t (id bigint PRIMARY KEY, n bigint, note text,
                         other bigint UNIQUE GENERATED ALWAYS AS (abs(id) * 2 + (id < 0)::int) STORED)
             WITH (replicated);
         INSERT INTO t SELECT i, 0, repeat('x', 50) FROM generate_series(1, 20000) AS i;
         CREATE TABLE referring (id integer PRIMARY KEY, t bigint REFERENCES t) WITH (replicated);
         INSERT INTO referring SELECT i, i FROM generate_series(1, 100) AS i",
    )?;
    let (joined, longest) = under_load(&cluster, || cluster.dev(&["add"]).map(drop))?;
    println!("longest statement while node 3 joined: {longest:?}");
    let nodes = (1..=3).map(|node| cluster.session(node)).collect::<anyhow::Result<Vec<_>>>()?;
    let differences = "SELECT count(*) FROM shardman.check_replicated('t')";
    let rows = "SELECT count(*) || ' ' || sum(n) FROM t";
    for node in &nodes {
        assert_eq!(node.integer(differences)?, 0);
        assert_eq!(node.value(rows)?, format!("{} {}", 20000 + joined, 2 * joined));
        assert_eq!(node.integer("SELECT count(*) FROM referring")?, 100);
    }
    // And it takes part from now on.
    nodes[2].run("DELETE FROM t WHERE id > 10000; TRUNCATE referring")?;
    assert_eq!(session.integer("SELECT count(*) FROM t")?, 10000);

    let second = &nodes[1];
    let (left, longest) = under_load(&cluster, || {
        let job = second.integer("SELECT shardman.rm_node(3)")?;
        let status = second.value(&format!("SELECT shardman.wait_cmd({job})"))?;
        anyhow::ensure!(["success", "done"].contains(&status.as_str()), "{status}");
        Ok(())
    })?;
    println!("longest statement while node 3 left: {longest:?}");
    assert!(left > 0, "nothing was written");
    assert_eq!(second.integer(differences)?, 0);
    Ok(())
}
