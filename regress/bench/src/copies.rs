//! Updates of a table that is the same on all servers.
//!
//! Ours: pgbench, the table is a replicated one. The others: a client that has a
//! session with each of its three servers, updates the row on the first server,
//! then on the others at once (two clients in any order would wait for each
//! other), and commits by PREPARE TRANSACTION and COMMIT PREPARED, each sent to
//! all at once. A system with one server has nothing to keep equal.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_postgres::NoTls;

use crate::run::number_after;
use crate::sample::Sample;
use crate::system::{Kind, System};
use crate::tables::COPIED_ROWS;
use crate::tools::{Tools, output};

/// Transactions of any client so far: names of prepared ones are used once.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Runs it for some seconds.
pub fn run(
    tools: &Tools,
    dir: &Path,
    system: &System<'_>,
    clients: u32,
    is_spread: bool,
    seconds: u32,
) -> anyhow::Result<Sample> {
    let cpu = system.cpu_seconds()?;
    let tps = match system.kind {
        Kind::Ours => by_pgbench(tools, dir, system, clients, is_spread, seconds)?,
        Kind::Stock => by_hand(system, clients, seconds)?,
        Kind::Plain => anyhow::bail!("there is one server"),
    };
    let cpu = system.cpu_seconds()? - cpu;
    let count = tps * f64::from(seconds);
    Ok(Sample { value: tps, cpu_us: cpu * 1e6 / count.max(1.0), client_us: None, wal_syncs: None })
}

fn by_pgbench(
    tools: &Tools,
    dir: &Path,
    system: &System<'_>,
    clients: u32,
    is_spread: bool,
    seconds: u32,
) -> anyhow::Result<f64> {
    let script = dir.join("copied.sql");
    let text =
        format!("\\set id random(1, {COPIED_ROWS})\nUPDATE copied SET n = n + 1 WHERE id = :id;\n");
    std::fs::write(&script, text)
        .with_context(|| format!("could not write {}", script.display()))?;
    let servers = if is_spread { u32::from(system.servers.count()) } else { 1 };
    let mut sum = 0.0;
    thread::scope(|scope| {
        let runs: Vec<_> = (0..servers)
            .map(|at| {
                let own = clients / servers + u32::from(at < clients % servers);
                let mut pgbench = tools.postgres("pgbench");
                pgbench.args(["--no-vacuum", "--protocol=prepared", "--host=127.0.0.1"]);
                pgbench.args(["--username=postgres", &format!("--client={own}")]);
                pgbench.arg(format!("--port={}", system.servers.port(at as u16 + 1)));
                pgbench.arg(format!("--time={seconds}")).arg("--file").arg(&script);
                pgbench.arg("postgres").stdin(Stdio::null());
                scope.spawn(move || output(pgbench, "pgbench"))
            })
            .collect();
        for run in runs {
            let report = run.join().unwrap_or_else(|_| anyhow::bail!("pgbench's thread failed"))?;
            sum += number_after(&report, "tps = ")?;
        }
        anyhow::Ok(())
    })?;
    Ok(sum)
}

fn by_hand(system: &System<'_>, clients: u32, seconds: u32) -> anyhow::Result<f64> {
    let ports: Vec<u16> = (1..=system.servers.count()).map(|n| system.servers.port(n)).collect();
    let duration = Duration::from_secs(seconds.into());
    let done = thread::scope(|scope| {
        let all: Vec<_> = (0..clients)
            .map(|at| {
                scope.spawn({
                    let ports = &ports;
                    move || one_client(ports, at, duration)
                })
            })
            .collect();
        all.into_iter()
            .map(|client| client.join().unwrap_or_else(|_| anyhow::bail!("a client failed")))
            .sum::<anyhow::Result<u64>>()
    })?;
    Ok(done as f64 / f64::from(seconds))
}

fn one_client(ports: &[u16], at: u32, duration: Duration) -> anyhow::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut sessions = Vec::new();
        for port in ports {
            let connstr = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
            let (session, connection) = tokio_postgres::connect(&connstr, NoTls).await?;
            tokio::spawn(async move { connection.await.ok() });
            let update = session.prepare("UPDATE copied SET n = n + 1 WHERE id = $1").await?;
            sessions.push((session, update));
        }
        let begun = Instant::now();
        let mut random = u64::from(at) + 1;
        let mut count = 0;
        while begun.elapsed() < duration {
            // xorshift: any spread of keys will do.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let id = (random % COPIED_ROWS as u64) as i64 + 1;
            let gid = format!("bench_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
            let write = async |(session, update): &(tokio_postgres::Client, _)| {
                session.batch_execute("BEGIN").await?;
                session.execute(update, &[&id]).await
            };
            write(&sessions[0]).await?;
            let (second, third) = tokio::join!(write(&sessions[1]), write(&sessions[2]));
            second.and(third)?;
            for command in ["PREPARE TRANSACTION", "COMMIT PREPARED"] {
                let sql = format!("{command} '{gid}'");
                let (first, second, third) = tokio::join!(
                    sessions[0].0.batch_execute(&sql),
                    sessions[1].0.batch_execute(&sql),
                    sessions[2].0.batch_execute(&sql)
                );
                first.and(second).and(third)?;
            }
            count += 1;
        }
        Ok(count)
    })
}
