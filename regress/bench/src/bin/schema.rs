//! How fast the schema changes: shardman on three nodes beside one stock server.
//! Prints a table in Markdown; nothing is asserted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use regress::{Session, TestCluster};

/// Measures changes of the schema: CREATE TABLE of 24 partitions beside stock
/// PostgreSQL, many changes in a loop, two sessions at once, and how long the
/// loss of the leader holds them up.
#[derive(Parser)]
#[command(name = "schema")]
struct Options {
    /// CREATE TABLEs of 24 partitions that are timed
    #[arg(long, default_value_t = 10)]
    tables: u32,
    /// Changes in the loop
    #[arg(long, default_value_t = 1000)]
    changes: u32,
    /// Tables that each of two sessions creates
    #[arg(long, default_value_t = 500)]
    each: u32,
    /// Seconds of load without and with changes
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Clients that make the load
    #[arg(long, default_value_t = 4)]
    clients: u16,
    /// How often the leader is killed
    #[arg(long, default_value_t = 3)]
    kills: u32,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    println!("| what | figure |\n| --- | --- |");
    let stock = {
        let plain = TestCluster::plain()?;
        let session = plain.session(1)?;
        median(options.tables, |n| timed(&session, &stock_table(n)))?
    };
    let cluster = TestCluster::up(3)?;
    let session = cluster.session(1)?;
    let ours = median(options.tables, |n| {
        timed(
            &session,
            &format!(
                "CREATE TABLE a{n} (id bigint PRIMARY KEY, v integer, w text) WITH (distributed_by = 'id', num_parts = 24)"
            ),
        )
    })?;
    println!("| CREATE TABLE of 24 partitions, stock, median | {} ms |", stock.as_millis());
    println!(
        "| the same on 3 nodes | {} ms, {:.1} times |",
        ours.as_millis(),
        ours.as_secs_f64() / stock.as_secs_f64()
    );
    let start = Instant::now();
    for n in 0..options.changes {
        session.run(&format!("COMMENT ON TABLE a0 IS '{n}'"))?;
    }
    let each = start.elapsed() / options.changes.max(1);
    println!("| {} changes in a loop | {:.1} ms each |", options.changes, each.as_secs_f64() * 1e3);
    at_once(&cluster, options.each)?;
    under_load(&cluster, &options)?;
    for _ in 0..options.kills {
        let took = lose_the_leader(&cluster)?;
        println!(
            "| from the loss of the leader to the next change | {:.2} s |",
            took.as_secs_f64()
        );
    }
    Ok(())
}

fn stock_table(n: u32) -> String {
    let mut sql = format!(
        "BEGIN; CREATE TABLE a{n} (id bigint PRIMARY KEY, v integer, w text) PARTITION BY HASH (id);"
    );
    for part in 0..24 {
        sql += &format!(
            "CREATE TABLE a{n}_{part} PARTITION OF a{n} FOR VALUES WITH (MODULUS 24, REMAINDER {part});"
        );
    }
    sql + "COMMIT"
}

fn timed(session: &Session, sql: &str) -> anyhow::Result<Duration> {
    let start = Instant::now();
    session.run(sql)?;
    Ok(start.elapsed())
}

fn median(
    count: u32,
    mut measure: impl FnMut(u32) -> anyhow::Result<Duration>,
) -> anyhow::Result<Duration> {
    let mut times = (0..count.max(1)).map(&mut measure).collect::<Result<Vec<_>, _>>()?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn at_once(cluster: &TestCluster, each: u32) -> anyhow::Result<()> {
    let start = Instant::now();
    let errors = thread::scope(|scope| {
        let create = |node: u16| -> anyhow::Result<u32> {
            let session = cluster.session(node)?;
            let create = |n| {
                session.run(&format!(
                    "CREATE TABLE b{node}_{n} (id bigint PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 3)"
                ))
            };
            Ok((0..each).filter(|n| create(*n).is_err()).count() as u32)
        };
        let other = scope.spawn(move || create(2));
        let own = create(1)?;
        let other = other.join().map_err(|_| anyhow::anyhow!("the other session panicked"))??;
        anyhow::Ok(own + other)
    })?;
    println!(
        "| two sessions on two nodes, {each} tables each | {:.1} s, {errors} errors |",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Transactions of one row each, as pgbench's simple update makes them, go on
/// while the schema changes: of their own table and of others.
fn under_load(cluster: &TestCluster, options: &Options) -> anyhow::Result<()> {
    const ROWS: u64 = 10_000;
    let session = cluster.session(1)?;
    session.run(&format!(
        "CREATE TABLE l (id bigint PRIMARY KEY, v integer) WITH (distributed_by = 'id', num_parts = 24);
         INSERT INTO l SELECT i, 0 FROM generate_series(1, {ROWS}) AS i"
    ))?;
    let (done, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let is_over = AtomicBool::new(false);
    let time = Duration::from_secs(options.seconds);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..options.clients)
            .map(|client| {
                let (done, failed, is_over) = (&done, &failed, &is_over);
                scope.spawn(move || -> anyhow::Result<()> {
                    let session = cluster.session(1 + client % 3)?;
                    let mut id = u64::from(client) * 997;
                    while !is_over.load(Ordering::Relaxed) {
                        id = (id * 31 + 7) % ROWS + 1;
                        let sql = format!("UPDATE l SET v = v + 1 WHERE id = {id}");
                        let counter = if session.run(&sql).is_ok() { done } else { failed };
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        let measured = || -> anyhow::Result<()> {
            thread::sleep(time);
            let alone = done.swap(0, Ordering::Relaxed);
            let (end, mut times) = (Instant::now() + time, Vec::new());
            while Instant::now() < end {
                let n = times.len();
                let sql = match n % 2 {
                    0 => format!("ALTER TABLE l ADD COLUMN c{n} integer"),
                    _ => format!(
                        "CREATE TABLE l{n} (id bigint PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 24)"
                    ),
                };
                times.push(timed(&session, &sql)?);
                thread::sleep(Duration::from_millis(200));
            }
            let beside = done.load(Ordering::Relaxed);
            times.sort_unstable();
            let rate = |count: u64| count as f64 / time.as_secs_f64();
            println!(
                "| {} clients that update single rows, alone | {:.0} a second |",
                options.clients,
                rate(alone)
            );
            println!(
                "| the same beside ALTER TABLE of their table and CREATE TABLE in turn | {:.0} a second, {} errors |",
                rate(beside),
                failed.load(Ordering::Relaxed)
            );
            println!(
                "| those {} changes, median and longest | {} ms, {} ms |",
                times.len(),
                times[times.len() / 2].as_millis(),
                times[times.len() - 1].as_millis()
            );
            Ok(())
        };
        let outcome = measured();
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        outcome
    })
}

/// The leader's node is killed; a session of another asks until it may.
fn lose_the_leader(cluster: &TestCluster) -> anyhow::Result<Duration> {
    let leader = cluster.session(1)?.integer("SELECT leader FROM shardman.local_raft_status()")?;
    let leader = cluster.node_with_id(leader)?;
    let other = if leader == 1 { 2 } else { 1 };
    let session = cluster.session(other)?;
    session.run("COMMENT ON TABLE a0 IS 'before'")?;
    cluster.on_node("kill", leader)?;
    let start = Instant::now();
    while session.run("COMMENT ON TABLE a0 IS 'after'").is_err() {
        thread::sleep(Duration::from_millis(20));
    }
    let took = start.elapsed();
    cluster.on_node("start", leader)?;
    thread::sleep(Duration::from_secs(5));
    Ok(took)
}
