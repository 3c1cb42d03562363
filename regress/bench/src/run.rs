//! One run of one workload on one system.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::copies;
use crate::cpu;
use crate::keys::{FIRST_NEW_H, NEW_H_PER_CLIENT};
use crate::sample::Sample;
use crate::system::{Kind, System};
use crate::tables::CopyFiles;
use crate::tools::{Tools, output};
use crate::workload::{Work, Workload};

/// Runs of a statement after one that warms up.
const TIMED_RUNS: usize = 3;
/// Statements faster than `FAST` are run so often.
const TIMED_FAST_RUNS: usize = 100;
const FAST: Duration = Duration::from_millis(50);
/// Within this, ended backends are gone and have reported.
const SETTLE: Duration = Duration::from_millis(300);

/// How long pgbench runs.
#[derive(Clone, Copy)]
pub struct Length {
    /// So many seconds.
    pub seconds: u32,
    /// If told, so many transactions of all clients together, where that can be:
    /// the share of what happens once in a session is then the same on a busy
    /// machine.
    pub transactions: Option<u32>,
}

/// What runs need besides the system.
pub struct Runner<'a> {
    tools: &'a Tools,
    dir: &'a Path,
    files: CopyFiles,
    events: i64,
    length: Length,
    /// Each run of pgbench takes its new keys from here on.
    next_h: i64,
}

/// A sample, and the rows that the statement returned.
pub struct Run {
    /// What was measured.
    pub sample: Sample,
    /// Sorted; they should be the same on every system.
    pub rows: Option<Vec<String>>,
}

impl<'a> Runner<'a> {
    /// A runner of pgbench runs of this length, with scripts in `dir`.
    pub fn new(
        tools: &'a Tools,
        dir: &'a Path,
        files: CopyFiles,
        events: i64,
        length: Length,
    ) -> Self {
        Self { tools, dir, files, events, length, next_h: FIRST_NEW_H }
    }

    /// Runs `workload` once.
    pub fn run(&mut self, workload: &Workload, system: &System<'_>) -> anyhow::Result<Run> {
        match &workload.work {
            Work::Pgbench { script, clients } => {
                let sample = self.pgbench(script, *clients, system)?;
                Ok(Run { sample, rows: None })
            }
            Work::Replicated { clients, is_spread } => {
                let seconds = self.length.seconds;
                let sample =
                    copies::run(self.tools, self.dir, system, *clients, *is_spread, seconds)?;
                Ok(Run { sample, rows: None })
            }
            Work::Query { sql, cleanup } => {
                let (sample, mut rows) = query(sql, *cleanup, system)?;
                rows.sort_unstable();
                Ok(Run { sample, rows: Some(rows) })
            }
            Work::Copy => Ok(Run { sample: self.copy(system)?, rows: None }),
        }
    }

    fn pgbench(
        &mut self,
        script: &str,
        clients: u32,
        system: &System<'_>,
    ) -> anyhow::Result<Sample> {
        let path = self.dir.join("script.sql");
        fs::write(&path, script).with_context(|| format!("could not write {}", path.display()))?;
        let mut pgbench = self.tools.postgres("pgbench");
        pgbench.args(["--no-vacuum", "--protocol=prepared", "--host=127.0.0.1"]);
        pgbench.args(["--username=postgres", "--define=n=0"]);
        pgbench.arg(format!("--define=first={}", self.next_h));
        pgbench.arg(format!("--port={}", system.servers.port(1)));
        pgbench.args([format!("--client={clients}"), format!("--jobs={}", clients.min(2))]);
        pgbench.arg(match self.length.transactions {
            None => format!("--time={}", self.length.seconds),
            Some(count) => format!("--transactions={}", count.div_ceil(clients)),
        });
        pgbench.arg("--file").arg(&path).arg("postgres").stdin(Stdio::null());
        self.next_h += NEW_H_PER_CLIENT * i64::from(clients);
        if self.next_h > i64::from(i32::MAX) {
            bail!("no keys are left for so many runs");
        }

        let syncs = system.wal_syncs()?;
        thread::sleep(SETTLE);
        let cpu = system.cpu_seconds()?;
        let client = cpu::seconds_of_ended_children()?;
        let report = output(pgbench, "pgbench")?;
        let client = cpu::seconds_of_ended_children()? - client;
        thread::sleep(SETTLE);
        let cpu = system.cpu_seconds()? - cpu;
        let syncs = system.wal_syncs()? - syncs;
        let tps = number_after(&report, "tps = ")?;
        let count = number_after(&report, "number of transactions actually processed: ")?;
        Ok(Sample { client_us: Some(client * 1e6 / count), ..sample(tps, cpu, Some(syncs), count) })
    }

    fn copy(&self, system: &System<'_>) -> anyhow::Result<Sample> {
        // Row by row, the whole file would take minutes each time.
        let (file, rows, scale) = match system.kind {
            Kind::Stock => (&self.files.tenth, self.events / 10, 10.0),
            _ => (&self.files.whole, self.events, 1.0),
        };
        system.servers.run_on_all("CHECKPOINT")?;
        let input =
            fs::File::open(file).with_context(|| format!("could not read {}", file.display()))?;
        let mut psql = self.tools.postgres("psql");
        psql.args(["--no-psqlrc", "--quiet", "--host=127.0.0.1", "--username=postgres"]);
        psql.args(["--set=ON_ERROR_STOP=1", "--command=COPY intake FROM STDIN (FORMAT csv)"]);
        psql.arg(format!("--port={}", system.servers.port(1))).arg("postgres").stdin(input);

        let cpu = system.cpu_seconds()?;
        let start = Instant::now();
        let outcome = output(psql, "psql");
        let elapsed = start.elapsed();
        thread::sleep(SETTLE);
        let cpu = system.cpu_seconds()? - cpu;
        let client = system.client()?;
        let count = outcome.and_then(|_| client.integer("SELECT count(*) FROM intake"));
        client.run("TRUNCATE intake")?;
        let count = count?;
        if count != rows {
            bail!("{count} rows arrived, not {rows}");
        }
        Ok(sample(milliseconds(elapsed) * scale, cpu, None, 1.0 / scale))
    }
}

fn query(
    sql: &str,
    cleanup: Option<&str>,
    system: &System<'_>,
) -> anyhow::Result<(Sample, Vec<String>)> {
    let client = system.client()?;
    let clean = || cleanup.map_or(Ok(()), |cleanup| client.run(cleanup));
    let once = || {
        let timed = client.timed(sql);
        clean().and(timed)
    };
    let (rows, warm) = once()?;
    if cleanup.is_some() {
        system.servers.run_on_all("CHECKPOINT")?;
    }
    let runs = if warm < FAST && cleanup.is_none() { TIMED_FAST_RUNS } else { TIMED_RUNS };
    let mut times = Vec::new();
    let mut cpu = 0.0;
    let start = system.cpu_seconds()?;
    for _ in 0..runs {
        let before = if cleanup.is_some() { system.cpu_seconds()? } else { 0.0 };
        let (_, elapsed) = client.timed(sql)?;
        times.push(elapsed);
        if cleanup.is_some() {
            cpu += system.cpu_seconds()? - before;
        }
        clean()?;
    }
    if cleanup.is_none() {
        cpu = system.cpu_seconds()? - start;
    }
    let syncs = cleanup.map(|_| syncs_of(sql, system)).transpose()?;
    clean()?;
    times.sort_unstable();
    let median = milliseconds(times[times.len() / 2]);
    let mut sample = sample(median, cpu, None, runs as f64);
    sample.wal_syncs = syncs;
    Ok((sample, rows))
}

/// WAL syncs of one execution, in a session of its own because sessions report
/// them when they end.
fn syncs_of(sql: &str, system: &System<'_>) -> anyhow::Result<f64> {
    let before = system.wal_syncs()?;
    system.client()?.run(sql)?;
    thread::sleep(SETTLE);
    Ok((system.wal_syncs()? - before) as f64)
}

fn sample(value: f64, cpu_seconds: f64, wal_syncs: Option<i64>, count: f64) -> Sample {
    Sample {
        value,
        cpu_us: cpu_seconds * 1e6 / count,
        client_us: None,
        wal_syncs: wal_syncs.map(|syncs| syncs as f64 / count),
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The number that follows `words` in what pgbench printed.
pub fn number_after(report: &str, words: &str) -> anyhow::Result<f64> {
    let rest = report.split(words).nth(1);
    let number = rest.and_then(|rest| rest.split([' ', '\n', '/']).next());
    number
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("pgbench printed no \"{words}\":\n{report}"))
}
