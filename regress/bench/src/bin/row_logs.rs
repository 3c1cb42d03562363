//! What tables with a log cost: entries per second with one and with several
//! writers, reads, and statements that touch none. Prints a table in Markdown;
//! nothing is asserted.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use regress::{Session, Shape, TestCluster, db_error};

/// Measures tables with a log on three nodes, with every sync to disk delayed.
#[derive(Parser)]
#[command(name = "row_logs")]
struct Options {
    /// Writers beside the run with one
    #[arg(long, default_value_t = 8)]
    writers: u16,
    /// Seconds of each run
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Milliseconds that each sync takes longer; 0 for none
    #[arg(long, default_value_t = 2)]
    sync_ms: u32,
}

/// Says to a child that its syncs are delayed already.
const DELAYED: &str = "SHARDMAN_BENCH_DELAYED";

/// In front of the C library's own, in this process and in the servers.
const DELAY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
static void rest(void) { struct timespec t = {0, MS * 1000000L}; nanosleep(&t, 0); }
#define SLOW(name) int name(int fd) { static int (*own)(int); \
    if (!own) own = (int (*)(int))dlsym(RTLD_NEXT, #name); rest(); return own(fd); }
SLOW(fsync)
SLOW(fdatasync)
"#;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.sync_ms > 0 && std::env::var_os(DELAYED).is_none() {
        return with_slow_syncs(options.sync_ms);
    }
    println!("Load of the machine when it began: {}.\n", load()?);
    println!("| what | figure |\n| --- | --- |");
    println!("| a sync takes longer by | {} ms |", options.sync_ms);
    let config = ["fsync=on", "synchronous_commit=on"];
    let cluster = TestCluster::start(&Shape { nodes: 3, is_plain: false, config: &config })?;
    let leader = leader(&cluster)?;
    let follower = leader % 3 + 1;
    let first = cluster.session(leader)?;
    first.run(
        "CREATE TABLE plain (id integer PRIMARY KEY, v integer);
         INSERT INTO plain SELECT i, 0 FROM generate_series(1, 1000) AS i",
    )?;
    let look = |_: u16, turn: u64| format!("SELECT v FROM plain WHERE id = {}", turn % 1000 + 1);
    let without = per_second(&cluster, &options, &[leader], look)?;
    first.run(
        "SELECT shardman.add_log('bench');
         CREATE TABLE logged (id integer PRIMARY KEY, v integer) WITH (replicated, log = 'bench');
         INSERT INTO logged SELECT i, 0 FROM generate_series(1, 1000) AS i",
    )?;
    let beside = per_second(&cluster, &options, &[leader], look)?;
    println!(
        "| statements that touch no such table, per second: without any, beside one: ratio | {without:.0}, {beside:.0}: {:.2} |",
        beside / without
    );
    let change = |client: u16, turn: u64| {
        let key = u64::from(client) * 100 + turn % 100 + 1;
        format!("UPDATE logged SET v = v + 1 WHERE id = {key}")
    };
    for (name, node) in [("the leader", leader), ("another node", follower)] {
        let one = per_second(&cluster, &options, &[node], change)?;
        let many = vec![node; usize::from(options.writers)];
        let many = per_second(&cluster, &options, &many, change)?;
        println!(
            "| entries per second from {name}, 1 writer, {} writers: ratio (asked: 4) | {one:.0}, {many:.0}: {:.1} |",
            options.writers,
            many / one
        );
    }
    let spread: Vec<u16> = (0..options.writers).map(|client| client % 3 + 1).collect();
    let spread = per_second(&cluster, &options, &spread, change)?;
    println!("| entries per second, {} writers on all nodes | {spread:.0} |", options.writers);
    let read = |_: u16, turn: u64| format!("SELECT v FROM logged WHERE id = {}", turn % 1000 + 1);
    for (name, node) in [("the leader", leader), ("another node", follower)] {
        let strong = 1000.0 / per_second(&cluster, &options, &[node], read)?;
        println!("| a strong read on {name} | {strong:.2} ms |");
    }
    println!("\nLoad of the machine when it ended: {}.", load()?);
    Ok(())
}

/// Runs this program again with a library that delays syncs in front of it.
fn with_slow_syncs(milliseconds: u32) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("shardman-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (source, library) = (folder.join("delay.c"), folder.join("delay.so"));
    std::fs::write(&source, DELAY)?;
    // The servers run as another user.
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", &format!("-DMS={milliseconds}"), "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status()
        .context("could not run cc")?;
    ensure!(made.success(), "could not make the library that delays syncs");
    let again = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env("LD_PRELOAD", &library)
        .env(DELAYED, "1")
        .status()?;
    std::fs::remove_dir_all(&folder)?;
    ensure!(again.success(), "the run failed");
    Ok(())
}

fn leader(cluster: &TestCluster) -> anyhow::Result<u16> {
    for node in 1..=3 {
        let state = "SELECT state = 'leader' FROM shardman.raft_status";
        if cluster.session(node)?.value(state)? == "t" {
            return Ok(node);
        }
    }
    anyhow::bail!("no node leads")
}

/// How many statements clients on these nodes finish in a second. One that is to
/// be run again counts when it has succeeded.
fn per_second(
    cluster: &TestCluster,
    options: &Options,
    nodes: &[u16],
    statement: impl Fn(u16, u64) -> String + Sync,
) -> anyhow::Result<f64> {
    let is_over = AtomicBool::new(false);
    let sessions: Vec<Session> =
        nodes.iter().map(|node| cluster.session(*node)).collect::<anyhow::Result<_>>()?;
    let (done, took) = thread::scope(|scope| {
        let start = Instant::now();
        let clients: Vec<_> = sessions
            .into_iter()
            .zip(0..)
            .map(|(session, client)| {
                let (is_over, statement) = (&is_over, &statement);
                scope.spawn(move || -> anyhow::Result<u64> {
                    let mut turn = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        match session.rows(&statement(client, turn)) {
                            Ok(_) => turn += 1,
                            Err(error) => {
                                let code = db_error(&error).map(|it| it.code().code().to_owned());
                                ensure!(code.as_deref() == Some("40001"), "{error:#}");
                            }
                        }
                    }
                    Ok(turn)
                })
            })
            .collect();
        thread::sleep(Duration::from_secs(options.seconds));
        is_over.store(true, Ordering::Relaxed);
        let mut done = 0;
        for client in clients {
            done += client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        Ok::<_, anyhow::Error>((done, start.elapsed()))
    })?;
    Ok(done as f64 / took.as_secs_f64())
}

fn load() -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}
