//! What moving partitions costs: whoever writes meanwhile, and in time. Prints a
//! table in Markdown; nothing is asserted.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use clap::Parser;
use regress::{Session, TestCluster, db_error};

/// Measures moves: how many a fourth node takes and how even they leave the nodes,
/// how long writers pause at the switch, what a throttled copy leaves them, and how
/// long a large partition takes beside pg_dump and psql.
#[derive(Parser)]
#[command(name = "moves")]
struct Options {
    /// Sessions that write and read meanwhile
    #[arg(long, default_value_t = 8)]
    clients: u16,
    /// Rounds of moving all partitions of the fourth node off and on again
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// MB of the partition that is moved with a throttle
    #[arg(long, default_value_t = 160)]
    throttled: i64,
    /// MB per second of the throttle
    #[arg(long, default_value_t = 8)]
    rate: i64,
    /// MB of the partition that is timed; 0 for none
    #[arg(long, default_value_t = 1024)]
    large: i64,
}

/// Rows of the tables that the clients use.
const ROWS: i64 = 60_000;
/// A statement that ends so long after the switch may still have waited for it.
const AFTER: Duration = Duration::from_millis(500);
/// Bytes of a row of `wide`, with its header.
const WIDE: i64 = 216;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    println!("Load of the machine when it began: {}.\n", load()?);
    println!("| what | figure |\n| --- | --- |");
    let cluster = TestCluster::up(3)?;
    let session = cluster.session(1)?;
    session.run(&format!(
        "CREATE TABLE a (id bigint PRIMARY KEY, v integer) WITH (distributed_by = 'id', num_parts = 24);
         CREATE TABLE b (id bigint, n integer, w text, PRIMARY KEY (id, n)) WITH (distributed_by = 'id', colocate_with = 'a');
         CREATE TABLE c (id bigint PRIMARY KEY, w text) WITH (distributed_by = 'id', colocate_with = 'a');
         INSERT INTO a SELECT i, 0 FROM generate_series(1, {ROWS}) AS i;
         INSERT INTO b SELECT i, 1, 'w' FROM generate_series(1, {ROWS}) AS i;
         INSERT INTO c SELECT i, 'w' FROM generate_series(1, {ROWS}) AS i;"
    ))?;
    fourth_node(&cluster, &options)?;
    throttled(&cluster, &options)?;
    if options.large > 0 {
        large(&cluster, options.large)?;
    }
    println!("\nLoad of the machine when it ended: {}.", load()?);
    Ok(())
}

/// Partitions move to a fourth node and back, beside clients that write.
fn fourth_node(cluster: &TestCluster, options: &Options) -> anyhow::Result<()> {
    cluster.dev(&["add"])?;
    let session = cluster.session(1)?;
    let planned = session.rows("SELECT FROM shardman.rebalance_plan()")?.len();
    println!(
        "| moves from 3 to 4 nodes, 24 partitions of 3 colocated tables | {planned} (least: 6) |"
    );
    let (moves, clients) = beside_clients(cluster, options.clients, || {
        let mut all = Vec::new();
        for round in 0..options.rounds {
            if round > 0 {
                all.extend(moves_of(cluster, "shardman.drain_node(4)")?);
            }
            all.extend(moves_of(cluster, "shardman.rebalance()")?);
        }
        Ok(all)
    })?;
    let held = session.rows(
        "SELECT count(p.pnum) FROM shardman.nodes AS n
              LEFT JOIN shardman.parts AS p ON p.node_id = n.id AND p.rel = 'a'::regclass
         GROUP BY n.id ORDER BY 1",
    )?;
    let held: Vec<String> = held.into_iter().flatten().flatten().collect();
    println!("| partitions of each node afterwards | {} |", held.join(", "));
    // Of each move the longest statement that was going on at its end.
    let mut pauses: Vec<Duration> = moves
        .iter()
        .map(|ended| {
            let at_it = clients
                .iter()
                .flatten()
                .filter(|one| one.began <= *ended && *ended <= one.began + one.took + AFTER);
            at_it.map(|one| one.took).max().unwrap_or_default()
        })
        .collect();
    pauses.sort_unstable();
    let (median, longest) = (pauses[pauses.len() / 2], pauses[pauses.len() - 1]);
    println!(
        "| longest statement of {} clients around the switch, {} moves: median, longest | {} ms, {} ms (asked: 200, 1000) |",
        options.clients,
        pauses.len(),
        median.as_millis(),
        longest.as_millis()
    );
    let retries: u32 = clients.iter().flatten().map(|one| one.retries).sum();
    let statements: usize = clients.iter().map(Vec::len).sum();
    println!(
        "| statements meanwhile, of them run again because of 40001 and the like | {statements}, {retries} |"
    );
    Ok(())
}

/// Runs a job that moves; returns when its moves ended, as time since 1970.
fn moves_of(cluster: &TestCluster, function: &str) -> anyhow::Result<Vec<Duration>> {
    let session = cluster.session(1)?;
    let job = session.integer(&format!("SELECT {function}"))?;
    finished(&session, job)?;
    let ends = session.rows(&format!(
        "SELECT (extract(epoch FROM ended) * 1000000)::bigint FROM shardman.cmd_log
         WHERE id > {job} AND cmd_type = 'move' AND status = 'success' ORDER BY id"
    ))?;
    let ends = ends.into_iter().flatten().flatten();
    ends.map(|micros| Ok(Duration::from_micros(micros.parse()?))).collect()
}

fn finished(session: &Session, job: i64) -> anyhow::Result<()> {
    loop {
        let row = session.rows(&format!(
            "SELECT status, coalesce(message, '') FROM shardman.cmd_log WHERE id = {job}"
        ))?;
        match row[0][0].as_deref() {
            Some("waiting" | "in progress") => thread::sleep(Duration::from_millis(50)),
            Some("success") => return Ok(()),
            _ => anyhow::bail!("job {job}: {row:?}"),
        }
    }
}

/// One statement of a client.
struct Done {
    /// Since 1970.
    began: Duration,
    took: Duration,
    retries: u32,
}

/// Runs `work` while clients update and read single rows through all nodes.
fn beside_clients<R>(
    cluster: &TestCluster,
    clients: u16,
    work: impl FnOnce() -> anyhow::Result<R>,
) -> anyhow::Result<(R, Vec<Vec<Done>>)> {
    let is_over = AtomicBool::new(false);
    let all = Mutex::new(Vec::new());
    let worked = thread::scope(|scope| {
        let running: Vec<_> = (0..clients)
            .map(|number| {
                let (is_over, all) = (&is_over, &all);
                scope.spawn(move || -> anyhow::Result<()> {
                    let done = client(cluster, number, is_over)?;
                    all.lock().expect("no client panics with it").push(done);
                    Ok(())
                })
            })
            .collect();
        let worked = work();
        is_over.store(true, Ordering::Relaxed);
        for client in running {
            client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        worked
    })?;
    Ok((worked, all.into_inner()?))
}

fn client(cluster: &TestCluster, number: u16, is_over: &AtomicBool) -> anyhow::Result<Vec<Done>> {
    let session = cluster.session(number % 3 + 1)?;
    session.run(
        "PREPARE change (bigint) AS UPDATE a SET v = v + 1 WHERE id = $1;
         PREPARE look (bigint) AS SELECT w FROM b WHERE id = $1",
    )?;
    let mut done = Vec::new();
    let mut key = i64::from(number) + 1;
    while !is_over.load(Ordering::Relaxed) {
        key = key * 7919 % 999_983;
        let name = if done.len() % 4 == 3 { "look" } else { "change" };
        let sql = format!("EXECUTE {name} ({})", key % ROWS + 1);
        let began = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let (start, mut retries) = (Instant::now(), 0);
        while let Err(error) = session.run(&sql) {
            let code = db_error(&error).map(|error| error.code().code().to_owned());
            ensure!(
                matches!(code.as_deref(), Some("40001" | "40P01" | "55P03")),
                "{sql}: {error:#}"
            );
            retries += 1;
        }
        done.push(Done { began, took: start.elapsed(), retries });
    }
    Ok(done)
}

/// A table of one partition, apart from those of the clients.
fn wide(session: &Session, name: &str, megabytes: i64) -> anyhow::Result<String> {
    session.run(&format!(
        "CREATE TABLE {name} (id bigint PRIMARY KEY, v integer, w text) WITH (distributed_by = 'id', num_parts = 1)"
    ))?;
    let rows = megabytes * 1024 * 1024 / WIDE;
    for first in (1..=rows).step_by(200_000) {
        session.run(&format!(
            "INSERT INTO {name} SELECT i, i % 1000, repeat(md5(i::text), 5)
             FROM generate_series({first}, {}) AS i",
            rows.min(first + 199_999)
        ))?;
    }
    session.run(&format!("CREATE INDEX ON {name} (v)"))?;
    session.value(&format!("SELECT part_name FROM shardman.parts WHERE rel = '{name}'::regclass"))
}

fn throttled(cluster: &TestCluster, options: &Options) -> anyhow::Result<()> {
    let session = cluster.session(1)?;
    let part = wide(&session, "slow", options.throttled)?;
    for node in 1..=4 {
        let session = cluster.session(node)?;
        session.run(&format!("ALTER SYSTEM SET shardman.move_rate = '{}MB'", options.rate))?;
        session.run("SELECT pg_reload_conf()")?;
    }
    let period = Duration::from_secs(10);
    let ((before, during), clients) = beside_clients(cluster, options.clients, || {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH);
        thread::sleep(Duration::from_secs(2));
        let before = now()?;
        thread::sleep(period);
        let job = session.integer(&format!(
            "SELECT shardman.move_part('{part}', 5 - node_id) FROM shardman.parts WHERE part_name = '{part}'"
        ))?;
        loop {
            let phase = session.rows("SELECT phase FROM shardman.stat_progress_move")?;
            if phase.iter().flatten().flatten().any(|phase| phase == "copying") {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let during = now()?;
        thread::sleep(period);
        finished(&session, job)?;
        Ok((before, during))
    })?;
    let between = |from: Duration| {
        let within = |one: &&Done| one.began >= from && one.began < from + period;
        clients.iter().flatten().filter(within).count() as f64 / period.as_secs_f64()
    };
    println!(
        "| statements per second before a move, and while it copies {} MB/s: part of that | {:.0}, {:.0}: {:.2} (asked: 0.7) |",
        options.rate,
        between(before),
        between(during),
        between(during) / between(before)
    );
    for node in 1..=4 {
        let session = cluster.session(node)?;
        session.run("ALTER SYSTEM RESET shardman.move_rate")?;
        session.run("SELECT pg_reload_conf()")?;
    }
    Ok(())
}

/// The same rows by a move, and by pg_dump and psql into another server.
fn large(cluster: &TestCluster, megabytes: i64) -> anyhow::Result<()> {
    let session = cluster.session(1)?;
    let part = wide(&session, "large", megabytes)?;
    session.run("CHECKPOINT")?;
    let source =
        session.integer("SELECT node_id FROM shardman.parts WHERE rel = 'large'::regclass")?;
    let bindir = std::env::var("SHARDMAN_PG_BINDIR").unwrap_or_default();
    let tool = |name: &str| match bindir.as_str() {
        "" => Command::new(name),
        folder => Command::new(format!("{folder}/{name}")),
    };
    let plain = TestCluster::plain()?;
    plain.session(1)?.run("CREATE SCHEMA shardman_data")?;
    let start = Instant::now();
    let mut dump = tool("pg_dump")
        .args(["--no-owner", "--table", &format!("shardman_data.{part}"), "--dbname"])
        .arg(cluster.connstr(u16::try_from(source)?))
        .stdout(Stdio::piped())
        .spawn()
        .context("could not run pg_dump")?;
    let out = dump.stdout.take().context("no output")?;
    let restored = tool("psql")
        .args(["-Xq", "--dbname", &plain.connstr(1)])
        .stdin(out)
        .stdout(Stdio::null())
        // There is no parent to attach it to.
        .stderr(Stdio::null())
        .status()?;
    ensure!(dump.wait()?.success() && restored.success(), "pg_dump or psql failed");
    let by_dump = start.elapsed();
    let count =
        |session: &Session, table: &str| session.integer(&format!("SELECT count(*) FROM {table}"));
    let rows = count(&session, "large")?;
    ensure!(count(&plain.session(1)?, &format!("shardman_data.{part}"))? == rows);
    drop(plain);
    let start = Instant::now();
    let job =
        session.integer(&format!("SELECT shardman.move_part('{part}', {})", source % 4 + 1))?;
    finished(&session, job)?;
    let by_move = start.elapsed();
    ensure!(count(&session, "large")? == rows);
    println!(
        "| {megabytes} MB ({rows} rows, 2 indexes) by pg_dump and psql, by a move: ratio | {:.1} s, {:.1} s: {:.2} |",
        by_dump.as_secs_f64(),
        by_move.as_secs_f64(),
        by_move.as_secs_f64() / by_dump.as_secs_f64()
    );
    Ok(())
}

fn load() -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}
