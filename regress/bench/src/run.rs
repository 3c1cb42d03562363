//! One run of one workload on one system.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::keys::FIRST_NEW_H;
use crate::sample::Sample;
use crate::system::{Consumption, Kind, System};
use crate::tables::CopyFiles;
use crate::tools::{Tools, output};
use crate::workload::{Work, Workload};

/// Runs of a statement after one that warms up.
const TIMED_RUNS: usize = 3;
/// Statements faster than `FAST` are run so often.
const TIMED_FAST_RUNS: usize = 20;
const FAST: Duration = Duration::from_millis(50);
/// Within this, ended backends are gone and have reported.
const SETTLE: Duration = Duration::from_millis(300);
/// New keys a client of one run has for itself.
const KEYS_PER_CLIENT: i64 = 1_000_000;

/// What runs need besides the system.
pub struct Runner<'a> {
    tools: &'a Tools,
    dir: &'a Path,
    files: CopyFiles,
    events: i64,
    seconds: u32,
    /// Each run of pgbench takes its new keys from here on.
    next_h: i64,
}

/// A sample, and the rows that the statement returned.
pub struct Run {
    /// What was measured.
    pub sample: Sample,
    /// Sorted, if they should be the same on every system.
    pub rows: Option<Vec<String>>,
}

impl<'a> Runner<'a> {
    /// A runner of pgbench runs of `seconds`, with scripts in `dir`.
    pub fn new(
        tools: &'a Tools,
        dir: &'a Path,
        files: CopyFiles,
        events: i64,
        seconds: u32,
    ) -> Self {
        Self { tools, dir, files, events, seconds, next_h: FIRST_NEW_H }
    }

    /// Runs `workload` once.
    pub fn run(&mut self, workload: &Workload, system: &System<'_>) -> anyhow::Result<Run> {
        match &workload.work {
            Work::Pgbench { script, clients } => {
                let sample = self.pgbench(script, *clients, system)?;
                Ok(Run { sample, rows: None })
            }
            Work::Query { sql, cleanup, is_comparable } => {
                let (sample, mut rows) = query(sql, *cleanup, system)?;
                rows.sort_unstable();
                Ok(Run { sample, rows: is_comparable.then_some(rows) })
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
        pgbench.arg(format!("--time={}", self.seconds));
        pgbench.arg("--file").arg(&path).arg("postgres").stdin(Stdio::null());
        self.next_h += KEYS_PER_CLIENT * i64::from(clients);
        if self.next_h + KEYS_PER_CLIENT * 8 > i64::from(i32::MAX) {
            bail!("no keys are left for so many runs");
        }

        let before = system.consumption()?;
        let report = output(pgbench, "pgbench")?;
        let consumed = settled(system, before)?;
        let tps = number_after(&report, "tps = ")?;
        let count = number_after(&report, "number of transactions actually processed: ")?;
        Ok(sample(tps, consumed, count))
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

        let before = system.consumption()?;
        let start = Instant::now();
        let outcome = output(psql, "psql");
        let elapsed = start.elapsed();
        let consumed = settled(system, before)?;
        let client = system.client()?;
        let count = outcome.and_then(|_| client.integer("SELECT count(*) FROM intake"));
        client.run("TRUNCATE intake")?;
        let count = count?;
        if count != rows {
            bail!("{count} rows arrived, not {rows}");
        }
        Ok(sample(milliseconds(elapsed) * scale, consumed, 1.0 / scale))
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
    let runs = if warm < FAST { TIMED_FAST_RUNS } else { TIMED_RUNS };
    let mut times = Vec::new();
    let mut consumed = Consumption { cpu_seconds: 0.0, wal_syncs: 0 };
    for _ in 0..runs {
        // Reading the counters connects to each server: not while a statement
        // of a millisecond is measured, unless its cleanup must not count.
        let before = cleanup.map(|_| system.consumption()).transpose()?;
        let (_, elapsed) = client.timed(sql)?;
        times.push(elapsed);
        if let Some(before) = before {
            thread::sleep(SETTLE);
            let after = system.consumption()?;
            consumed.cpu_seconds += (after - before).cpu_seconds;
            consumed.wal_syncs += (after - before).wal_syncs;
        }
        clean()?;
    }
    if cleanup.is_none() {
        let before = system.consumption()?;
        for _ in 0..runs {
            client.run(sql)?;
        }
        consumed = system.consumption()? - before;
    }
    times.sort_unstable();
    let median = milliseconds(times[times.len() / 2]);
    Ok((sample(median, consumed, runs as f64), rows))
}

/// What was consumed since `before`, once the sessions that did it have ended.
fn settled(system: &System<'_>, before: Consumption) -> anyhow::Result<Consumption> {
    thread::sleep(SETTLE);
    Ok(system.consumption()? - before)
}

fn sample(value: f64, consumed: Consumption, count: f64) -> Sample {
    Sample {
        value,
        cpu_us: consumed.cpu_seconds * 1e6 / count,
        wal_syncs: consumed.wal_syncs as f64 / count,
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The number that follows `words` in what pgbench printed.
fn number_after(report: &str, words: &str) -> anyhow::Result<f64> {
    let rest = report.split(words).nth(1);
    let number = rest.and_then(|rest| rest.split([' ', '\n', '/']).next());
    number
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("pgbench printed no \"{words}\":\n{report}"))
}
