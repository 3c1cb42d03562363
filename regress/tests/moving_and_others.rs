//! Moves and what is in their way: transactions, index builds, changes of the
//! schema, moves that fail.

use std::time::Duration;

use anyhow::{Context, ensure};
use regress::{Session, Shape, TestCluster, db_error, eventually, jobs};

const BOUND: Duration = Duration::from_secs(100);

/// Two nodes; partition 0 of `item` is on node 1, partition 1 on node 2.
struct Stage {
    cluster: TestCluster,
    session: Session,
}

impl Stage {
    fn set(config: &[&str]) -> anyhow::Result<Self> {
        let cluster = TestCluster::start(&Shape { nodes: 2, is_plain: false, config })?;
        let session = cluster.session(1)?;
        session.run(
            "CREATE TABLE item (id bigint PRIMARY KEY, v integer, w text) WITH (distributed_by = 'id', num_parts = 2);
             INSERT INTO item SELECT i, i, 'w' || i FROM generate_series(1, 1000) AS i",
        )?;
        Ok(Stage { cluster, session })
    }

    fn node_of(&self, partition: i64) -> anyhow::Result<i64> {
        self.session.integer(&format!(
            "SELECT node_id FROM shardman.parts WHERE rel = 'item'::regclass AND pnum = {partition}"
        ))
    }

    /// Begins to move a partition to the other node.
    fn moves(&self, partition: i64) -> anyhow::Result<i64> {
        self.session.integer(&format!(
            "SELECT shardman.move_part(part_name, 3 - node_id) FROM shardman.parts
             WHERE rel = 'item'::regclass AND pnum = {partition}"
        ))
    }

    /// The number of the job that was submitted last.
    fn last_job(&self) -> anyhow::Result<i64> {
        self.session.integer("SELECT coalesce(max(id), 0) FROM shardman.cmd_log")
    }

    /// Waits for a job that a statement submits.
    fn job_after(&self, last: i64) -> anyhow::Result<i64> {
        eventually("the statement has submitted its job", BOUND, || {
            let job = self.last_job()?;
            Ok((job > last).then_some(job))
        })
    }

    /// What a session holds open; it has read from or written to `partition`.
    fn transaction(&self, sql: &str) -> anyhow::Result<(Session, i64)> {
        let session = self.cluster.session(u16::try_from(self.node_of(0)?)?)?;
        session.run(&format!("BEGIN; {sql}"))?;
        let pid = session.integer("SELECT pg_backend_pid()")?;
        Ok((session, pid))
    }

    fn check(&self) -> anyhow::Result<()> {
        for node in 1..=2 {
            let session = self.cluster.session(node)?;
            let sum = session.value("SELECT count(*) || ' ' || sum(id) FROM item")?;
            ensure!(sum == "1000 500500", "node {node} sees {sum}");
            let invalid =
                session.rows("SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid")?;
            ensure!(invalid.is_empty(), "not valid on node {node}: {invalid:?}");
        }
        let left = self.session.rows("SELECT * FROM shardman.leftovers()")?;
        ensure!(left.is_empty(), "left: {left:?}");
        Ok(())
    }
}

#[test]
fn a_move_names_the_transactions_that_it_waits_for() -> anyhow::Result<()> {
    let stage = Stage::set(&[])?;
    // One that has written keeps the slot waiting.
    let (writer, pid) = stage.transaction("UPDATE item SET v = v + 1")?;
    // So does a prepared one, of a program that manages transactions itself.
    let manager = stage.cluster.session(u16::try_from(stage.node_of(0)?)?)?;
    manager.run("CREATE TABLE own (a integer); BEGIN; INSERT INTO own VALUES (1); PREPARE TRANSACTION 'of the manager'")?;
    std::thread::sleep(Duration::from_millis(1100));
    let job = stage.moves(0)?;
    jobs::says(&stage.cluster, job, &format!("process {pid} of role \"postgres\""))?;
    jobs::says(&stage.cluster, job, "prepared transaction \"of the manager\"")?;
    writer.run("COMMIT")?;
    manager.run("COMMIT PREPARED 'of the manager'")?;
    jobs::succeeded(&stage.cluster, job)?;
    let message = format!("SELECT message FROM shardman.cmd_log WHERE id = {job}");
    ensure!(stage.session.value(&message)?.is_empty(), "nothing is waited for any more");

    // One that has read keeps the switch waiting, and nobody else.
    let (reader, pid) = stage.transaction("SELECT count(*) FROM item")?;
    let job = stage.moves(0)?;
    jobs::says(&stage.cluster, job, &format!("process {pid} of role \"postgres\""))?;
    eventually("statements go on between the tries", BOUND, || {
        Ok(stage.session.run("UPDATE item SET v = v + 1 WHERE id < 10").is_ok().then_some(()))
    })?;
    reader.run("COMMIT")?;
    jobs::succeeded(&stage.cluster, job)?;
    stage.check()
}

#[test]
fn moves_and_index_builds_of_a_table_go_one_after_the_other() -> anyhow::Result<()> {
    let stage = Stage::set(&[])?;
    let last = stage.last_job()?;
    // The build waits for this one, and the move for the build.
    let (writer, _) = stage.transaction("UPDATE item SET v = v + 1 WHERE id = 1")?;
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let statement = |sql: &'static str| {
            let session = stage.cluster.session(2)?;
            anyhow::Ok(scope.spawn(move || session.run(sql)))
        };
        let done = |running: std::thread::ScopedJoinHandle<'_, anyhow::Result<()>>| {
            running.join().expect("sessions do not panic")
        };
        let build = statement("CREATE INDEX CONCURRENTLY item_v ON item (v)")?;
        let building = stage.job_after(last)?;
        let job = stage.moves(0)?;
        jobs::says(&stage.cluster, job, &format!("waits for job {building} (create_index)"))?;
        writer.run("COMMIT")?;
        done(build)?;
        jobs::succeeded(&stage.cluster, job)?;

        // The other way round, with every kind of statement.
        let (reader, _) = stage.transaction("SELECT count(*) FROM item")?;
        let job = stage.moves(0)?;
        jobs::says(&stage.cluster, job, "the switch waits for locks")?;
        let mut statements = Vec::new();
        let mut last = job;
        for sql in [
            "CREATE INDEX CONCURRENTLY item_w ON item (w)",
            "REINDEX TABLE CONCURRENTLY item",
            "DROP INDEX CONCURRENTLY item_v",
        ] {
            statements.push(statement(sql)?);
            let submitted = stage.job_after(last)?;
            jobs::says(&stage.cluster, submitted, &format!("waits for job {job} (move)"))?;
            last = submitted;
        }
        reader.run("COMMIT")?;
        jobs::succeeded(&stage.cluster, job)?;
        statements.into_iter().try_for_each(done)
    })?;
    for node in 1..=2 {
        let indexes = stage.cluster.session(node)?.value(
            "SELECT string_agg(indexrelid::regclass::text, ' ' ORDER BY indexrelid::regclass::text)
             FROM pg_index WHERE indrelid = 'item'::regclass",
        )?;
        ensure!(indexes == "item_pkey item_w", "{indexes}");
    }
    stage.check()
}

#[test]
fn a_move_waits_for_a_change_of_the_schema() -> anyhow::Result<()> {
    let stage = Stage::set(&[])?;
    let (change, _) = stage.transaction("ALTER TABLE item ADD COLUMN x integer DEFAULT 7")?;
    let job = stage.moves(0)?;
    eventually("the move's driver is at work", BOUND, || {
        let status = format!("SELECT status FROM shardman.cmd_log WHERE id = {job}");
        Ok((stage.session.value(&status)? == "in progress").then_some(()))
    })?;
    change.run("UPDATE item SET x = 8 WHERE id <= 500; COMMIT")?;
    jobs::succeeded(&stage.cluster, job)?;
    let sum = stage.session.integer("SELECT sum(x) FROM item")?;
    ensure!(sum == 7500, "{sum}");
    stage.check()
}

#[test]
fn a_rebalancing_tries_again_what_fails_and_says_why_it_did() -> anyhow::Result<()> {
    let stage = Stage::set(&["item.is_refused=on"])?;
    let refuse = |is_refused: bool| -> anyhow::Result<()> {
        for node in 1..=2 {
            let session = stage.cluster.session(node)?;
            session.run(&format!("ALTER SYSTEM SET item.is_refused = '{is_refused}'"))?;
            session.run("SELECT pg_reload_conf()")?;
        }
        Ok(())
    };
    refuse(false)?;
    // Where it is switched on, no row is taken.
    stage.session.run(
        "SET shardman.broadcast_ddl = on;
         CREATE FUNCTION is_taken() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
             BEGIN
                 IF current_setting('item.is_refused')::boolean THEN RAISE 'no room today'; END IF;
                 RETURN true;
             END $$;
         RESET shardman.broadcast_ddl",
    )?;
    eventually("rows are taken", BOUND, || {
        let added = stage.session.run("ALTER TABLE item ADD CONSTRAINT room CHECK (is_taken())");
        match added {
            Ok(()) => Ok(Some(())),
            Err(error) => match db_error(&error) {
                Some(_) => Ok(None),
                None => Err(error),
            },
        }
    })?;
    refuse(true)?;
    let connstr = stage.cluster.connstr(1);
    let drained = ["nodes", "drain", "--id", "1", "--watch", "--connstr", &connstr];
    let drained = stage.cluster.ctl_output(&drained)?;
    ensure!(!drained.status.success(), "shardmanctl took it for a success");
    let state: serde_json::Value = serde_json::from_slice(&drained.stdout)?;
    ensure!(state["status"] == "done", "{state}");
    let drain = state["job"].as_i64().context("a job has a number")?;
    let message = state["message"].as_str().context("a message is a string")?;
    ensure!(message.contains(" did not move from node 1 to node 2: job "), "{message}");
    ensure!(message.contains("no room today"), "{message}");
    let tries = stage.session.integer(&format!(
        "SELECT count(*) FROM shardman.cmd_log WHERE id > {drain} AND cmd_type = 'move' AND status = 'failed'"
    ))?;
    ensure!(tries == 3, "{tries} tries");

    let drain = stage.session.integer("SELECT shardman.drain_node(1)")?;
    eventually("a move has failed", BOUND, || {
        let rows = stage.session.rows(&format!(
            "SELECT FROM shardman.cmd_log WHERE id > {drain} AND cmd_type = 'move' AND status = 'failed'"
        ))?;
        Ok((!rows.is_empty()).then_some(()))
    })?;
    refuse(false)?;
    jobs::succeeded(&stage.cluster, drain)?;
    ensure!((stage.node_of(0)?, stage.node_of(1)?) == (2, 2));
    let planned = || stage.cluster.ctl(&["rebalance", "--dry-run", &connstr]);
    let plan = planned()?;
    ensure!(plan.as_array().is_some_and(|moves| moves.len() == 1), "{plan}");
    ensure!(stage.node_of(0)? == stage.node_of(1)?, "looking at the plan has moved something");
    stage.cluster.ctl(&["rebalance", "--watch", &connstr])?;
    ensure!(stage.node_of(0)? != stage.node_of(1)?);
    ensure!(planned()? == serde_json::json!([]));
    stage.check()
}

#[test]
fn values_of_every_kind_arrive_as_they_were() -> anyhow::Result<()> {
    // Settings that print values in other ways, or not whole.
    let stage = Stage::set(&[
        "intervalstyle=sql_standard",
        "bytea_output=escape",
        "extra_float_digits=-6",
        "datestyle=German",
    ])?;
    stage.session.run(
        r#"SET shardman.broadcast_ddl = on;
           CREATE SCHEMA kinds;
           CREATE TYPE kinds.mood AS ENUM ('so so', '{fine}');
           CREATE TYPE kinds.pair AS (a integer, "B" text);
           CREATE DOMAIN kinds.few AS integer CHECK (VALUE < 10);
           RESET shardman.broadcast_ddl;
           CREATE TABLE "All Kinds" (gone integer, id bigint PRIMARY KEY, "T t" text, n numeric, f double precision,
               b bytea, s timestamptz, i interval, a text[], j jsonb, m kinds.mood[], p kinds.pair, w kinds.few,
               r int8range, g text GENERATED ALWAYS AS (upper("T t")) STORED)
               WITH (distributed_by = 'id', colocate_with = 'item');
           ALTER TABLE "All Kinds" DROP COLUMN gone;
           ALTER TABLE "All Kinds" ADD COLUMN late text DEFAULT 'as ever'"#,
    )?;
    stage.session.run(
        r#"INSERT INTO "All Kinds" (id, "T t", n, f, b, s, i, a, j, m, p, w, r)
           SELECT k, E'a\tb\nc\\d\r' || k, 'NaN', 1 / (k + 0.3)::float8, '\x00ff5c27', '2001-02-03 04:05:06.789+01',
                  '1 mon -2 days 03:04:05.6', ARRAY['\N', NULL, '', '"x,y"'], '{"k": [1, null]}', '{"so so","{fine}"}',
                  ROW(k, E'p\\')::kinds.pair, k % 10, int8range(k, k + 5)
           FROM generate_series(1, 40) AS k;
           INSERT INTO "All Kinds" (id, "T t", b) SELECT k, '', decode(repeat(md5(k::text), 4000), 'hex') FROM generate_series(41, 60) AS k;
           INSERT INTO "All Kinds" (id, late) SELECT k, NULL FROM generate_series(61, 80) AS k;
           INSERT INTO "All Kinds" (id, "T t") SELECT k, E'\\N\\.' FROM generate_series(81, 90) AS k"#,
    )?;
    let digest = |node: u16| {
        stage.cluster.session(node)?.value(
            r#"SET extra_float_digits = 3;
               SELECT count(*) || md5(string_agg(t::text, ' ' ORDER BY id)) FROM "All Kinds" AS t"#,
        )
    };
    let before = digest(1)?;
    ensure!(before.starts_with("90"), "{before}");
    for partition in 0..2 {
        let job = stage.moves(partition)?;
        jobs::succeeded(&stage.cluster, job)?;
    }
    for node in 1..=2 {
        ensure!(digest(node)? == before, "node {node} sees other values");
    }
    stage.check()
}
