//! Partitions move while the application writes and reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use regress::{Session, TestCluster, db_error};

const MOVE_BOUND: Duration = Duration::from_secs(150);
/// What a client may be told at any time, and then runs the transaction again.
const RETRYABLE: [&str; 3] = ["40001", "40P01", "55P03"];

const TABLES: &str = r#"
    CREATE TABLE "Order's" (id bigint PRIMARY KEY, client int NOT NULL, value text, twice bigint GENERATED ALWAYS AS (id * 2) STORED,
        CHECK (client >= 0), UNIQUE (id, value)) WITH (distributed_by = 'id', num_parts = 4);
    CREATE TABLE line (id bigint, n int, value text, noted int) WITH (distributed_by = 'id', colocate_with = '"Order''s"');
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

/// A client that knows what it has written.
struct Client<'a> {
    cluster: &'a TestCluster,
    number: i64,
    session: Session,
    rows: BTreeMap<i64, String>,
    retries: u32,
    longest: Duration,
}

impl<'a> Client<'a> {
    fn new(cluster: &'a TestCluster, number: i64, nodes: i64) -> anyhow::Result<Self> {
        let session = cluster.session(u16::try_from(number % nodes + 1)?)?;
        session.run(
            r#"PREPARE own (bigint) AS SELECT value FROM "Order's" WHERE id = $1;
               PREPARE whole (bigint) AS SELECT count(*), sum(twice) FROM "Order's" WHERE client = $1"#,
        )?;
        let (rows, retries, longest) = (BTreeMap::new(), 0, Duration::ZERO);
        Ok(Client { cluster, number, session, rows, retries, longest })
    }

    /// Runs it until it is not refused for the moment.
    fn insist(&mut self, sql: &str) -> anyhow::Result<Vec<Vec<Option<String>>>> {
        let began = Instant::now();
        loop {
            match self.session.rows(sql) {
                Ok(rows) => {
                    self.longest = self.longest.max(began.elapsed());
                    return Ok(rows);
                }
                Err(error) => {
                    let code = db_error(&error).map(|error| error.code().code().to_owned());
                    if !code.is_some_and(|code| RETRYABLE.contains(&code.as_str())) {
                        return Err(error);
                    }
                    self.retries += 1;
                    self.session.run("ROLLBACK")?;
                    ensure!(began.elapsed() < MOVE_BOUND, "refused again and again: {error:#}");
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }

    /// One transaction, and a look at what must be there.
    fn step(&mut self, step: i64) -> anyhow::Result<()> {
        let id = self.number * 1_000_000 + step;
        let value = format!("{step}\\'");
        let quoted = value.replace('\'', "''");
        let client = self.number;
        let former = self.rows.keys().nth(step as usize / 3 % self.rows.len().max(1)).copied();
        match (step % 5, former) {
            (0, Some(former)) => {
                self.insist(&format!(
                    r#"BEGIN; UPDATE "Order's" SET value = '{quoted}' WHERE id = {former};
                       UPDATE line SET value = '{quoted}' WHERE id = {former} AND n = 1; COMMIT"#
                ))?;
                self.rows.insert(former, value);
            }
            (1, Some(former)) => {
                self.insist(&format!(
                    r#"BEGIN; DELETE FROM "Order's" WHERE id = {former}; COMMIT"#
                ))?;
                self.rows.remove(&former);
            }
            _ => {
                self.insist(&format!(
                    r#"BEGIN; INSERT INTO "Order's" VALUES ({id}, {client}, '{quoted}');
                       INSERT INTO line (id, n, value) SELECT {id}, n, '{quoted}' FROM generate_series(1, 2) AS n; COMMIT"#
                ))?;
                self.rows.insert(id, value);
            }
        }
        if let Some((id, value)) = self.rows.iter().nth(step as usize % self.rows.len().max(1)) {
            let (id, value) = (*id, value.clone());
            let found = self.insist(&format!("EXECUTE own ({id})"))?;
            ensure!(found == [[Some(value)]], "row {id} is {found:?}");
        }
        if step % 7 == 0 {
            let begin =
                if step % 2 == 0 { "BEGIN ISOLATION LEVEL REPEATABLE READ; " } else { "BEGIN; " };
            let found = self.insist(&format!("{begin} EXECUTE whole ({client}); COMMIT"))?;
            let sum: i64 = self.rows.keys().map(|id| id * 2).sum();
            let expected = [
                Some(self.rows.len().to_string()),
                (!self.rows.is_empty()).then(|| sum.to_string()),
            ];
            ensure!(found == [expected.to_vec()], "client {client}: {found:?}, not {expected:?}");
        }
        Ok(())
    }

    /// What is there in the end, seen from another node.
    fn check(&self, nodes: i64) -> anyhow::Result<()> {
        for node in 1..=nodes {
            let session = self.cluster.session(u16::try_from(node)?)?;
            let found = session.rows(&format!(
                r#"SELECT o.id, o.value, (SELECT string_agg(l.n || '=' || l.value, ' ' ORDER BY l.n) FROM line AS l WHERE l.id = o.id)
                   FROM "Order's" AS o WHERE client = {} ORDER BY id"#,
                self.number
            ))?;
            ensure!(
                found.len() == self.rows.len(),
                "{} rows, not {}",
                found.len(),
                self.rows.len()
            );
            for (row, (id, value)) in found.iter().zip(&self.rows) {
                ensure!(
                    row[0].as_deref() == Some(&id.to_string()) && row[1].as_ref() == Some(value),
                    "{row:?}, not {id} {value}"
                );
                let lines = row[2].as_deref().unwrap_or_default();
                ensure!(lines.starts_with(&format!("1={value} 2=")), "{row:?}");
            }
        }
        Ok(())
    }
}

/// Every row is in the leaf that its hash says, and leaves are whole tables.
fn check_rows(cluster: &TestCluster) -> anyhow::Result<()> {
    let mut digests = Vec::new();
    for node in 1..=cluster.count()? {
        let session = cluster.session(node)?;
        let leaves = session.rows(
            "SELECT c.oid::regclass::text, pg_get_partition_constraintdef(c.oid)
             FROM pg_class AS c WHERE relnamespace = 'shardman_data'::regnamespace AND relkind = 'r'",
        )?;
        for leaf in &leaves {
            let [Some(name), Some(bound)] = leaf.as_slice() else { bail!("no bound: {leaf:?}") };
            let strays =
                session.integer(&format!("SELECT count(*) FROM {name} WHERE NOT {bound}"))?;
            ensure!(strays == 0, "{strays} rows of {name} on node {node} belong elsewhere");
        }
        let own = session.rows(
            "SELECT p.part_name FROM shardman.parts AS p WHERE p.node_id = shardman.my_id() ORDER BY 1",
        )?;
        ensure!(own.len() == leaves.len(), "node {node} has {leaves:?}, not {own:?}");
        digests.push(session.value("SELECT shardman.schema_digest()")?);
    }
    let left = cluster.session(1)?.rows("SELECT * FROM shardman.leftovers()")?;
    ensure!(left.is_empty(), "left: {left:?}");
    ensure!(digests.windows(2).all(|pair| pair[0] == pair[1]), "schemas differ");
    Ok(())
}

fn move_part(cluster: &TestCluster, part: &str, destination: i64) -> anyhow::Result<()> {
    let session = cluster.session(1)?;
    let job = session.integer(&format!("SELECT shardman.move_part('{part}', {destination})"))?;
    wait_for(cluster, job)
}

/// Waits until a job has succeeded.
fn wait_for(cluster: &TestCluster, job: i64) -> anyhow::Result<()> {
    let session = cluster.session(1)?;
    let status = regress::eventually("the job is over", MOVE_BOUND, || {
        let status =
            session.value(&format!("SELECT status FROM shardman.cmd_log WHERE id = {job}"))?;
        Ok((!["waiting", "in progress"].contains(&status.as_str())).then_some(status))
    })?;
    let message =
        session.rows(&format!("SELECT message FROM shardman.cmd_log WHERE id = {job}"))?;
    ensure!(status == "success", "job {job}: {status}: {message:?}");
    Ok(())
}

/// Runs clients while something else goes on, then checks everything.
fn under_load(
    cluster: &TestCluster,
    nodes: i64,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (is_over, steps) = (AtomicBool::new(false), AtomicU32::new(0));
    let clients = std::thread::scope(|scope| {
        let (is_over, steps) = (&is_over, &steps);
        let clients: Vec<_> = (0..nodes + 1)
            .map(|number| {
                scope.spawn(move || -> anyhow::Result<Client<'_>> {
                    let mut client = Client::new(cluster, number, nodes)?;
                    for step in 0.. {
                        if is_over.load(Ordering::Relaxed) {
                            break;
                        }
                        client
                            .step(step)
                            .with_context(|| format!("client {number}, step {step}"))?;
                        steps.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(client)
                })
            })
            .collect();
        let worked = work();
        is_over.store(true, Ordering::Relaxed);
        let clients: anyhow::Result<Vec<_>> = clients
            .into_iter()
            .map(|client| client.join().expect("clients do not panic"))
            .collect();
        worked?;
        clients
    })?;
    eprintln!(
        "{} transactions, {} retries, the longest {:?}",
        steps.load(Ordering::Relaxed),
        clients.iter().map(|client| client.retries).sum::<u32>(),
        clients.iter().map(|client| client.longest).max().unwrap_or_default()
    );
    for client in &clients {
        client.check(nodes)?;
    }
    Ok(())
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
    check_rows(&cluster)
}

#[test]
fn a_cluster_grows_and_shrinks_under_load() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let session = cluster.session(1)?;
    session.run(TABLES)?;
    let spread = || -> anyhow::Result<Vec<i64>> {
        let rows = session.rows(
            "SELECT count(p.pnum) FROM shardman.nodes AS n
                  LEFT JOIN shardman.parts AS p ON p.node_id = n.id AND p.rel = 'line'::regclass
             GROUP BY n.id ORDER BY 1",
        )?;
        rows.iter().flatten().flatten().map(|count| Ok(count.parse()?)).collect()
    };
    under_load(&cluster, 2, || {
        for _ in 0..2 {
            cluster.dev(&["add"])?;
        }
        let planned = session.rows("SELECT part_name FROM shardman.rebalance_plan()")?;
        ensure!(planned.len() == 2, "{planned:?}");
        wait_for(&cluster, session.integer("SELECT shardman.rebalance()")?)?;
        ensure!(spread()? == [1, 1, 1, 1], "{:?}", spread());
        wait_for(&cluster, session.integer("SELECT shardman.drain_node(2)")?)?;
        ensure!(spread()? == [0, 1, 1, 2], "{:?}", spread());
        Ok(())
    })?;
    check_rows(&cluster)
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
    check_rows(&cluster)?;
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
    wait_for(&cluster, job)?;
    let error = old.failure(r#"SELECT count(*) FROM "Order's""#)?;
    ensure!(error.code().code() == "40001", "{error:?}");
    old.run("ROLLBACK")?;
    ensure!(
        old.integer(r#"SELECT count(*) FROM "Order's" WHERE more = 7"#)? == 4000,
        "rows are gone"
    );
    check_rows(&cluster)
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
        wait_for(&cluster, job).with_context(|| format!("{victim} killed while {phase}"))?;
        for node in 1..=3 {
            let session = cluster.session(node)?;
            let sums = session.rows(
                r#"SELECT (SELECT sum(id) FROM "Order's"), (SELECT sum(id) FROM line), (SELECT sum(id) FROM empty)"#,
            )?;
            let expected = ["8002000", "8002000", "80200"].map(|sum| Some(sum.to_owned()));
            ensure!(sums == [expected.to_vec()], "{victim} killed while {phase}: {sums:?}");
        }
        check_rows(&cluster).with_context(|| format!("{victim} killed while {phase}"))?;
    }
    Ok(())
}
