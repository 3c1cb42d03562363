//! What was found, as Markdown.

use crate::compare::{Findings, Measured, RoundTrips};
use crate::keys::PARTITIONS;
use crate::machine::{self, Machine};
use crate::markdown::{Table, number, spread};
use crate::options::Options;
use crate::run::Length;
use crate::sample::{Sample, Samples, Spread};
use crate::servers::SETTINGS;
use crate::system::Kind;
use crate::workload::{Work, Workload};

/// The whole report.
pub fn text(findings: &Findings, machine: &Machine, version: &str, options: &Options) -> String {
    let mut parts = vec![introduction(findings, machine, version, options)];
    parts.push(shortfalls(findings));
    for clients in [8, 1] {
        let lines =
            findings.measured.iter().filter(|measured| clients_of(measured) == Some(clients));
        parts.extend(table(
            &format!(
                "Transactions a second, {}",
                match clients {
                    1 => "1 client".to_owned(),
                    _ => format!("{clients} clients"),
                }
            ),
            "CPU us a transaction",
            lines,
        ));
    }
    parts.extend(table(
        "Milliseconds of one statement",
        "CPU us a statement",
        findings.measured.iter().filter(|measured| clients_of(measured).is_none()),
    ));
    parts.extend(round_trips(&findings.round_trips));
    parts.extend(missing(findings));
    parts.join("\n")
}

/// Of a run of pgbench.
fn clients_of(measured: &Measured) -> Option<u32> {
    match measured.workload.work {
        Work::Pgbench { clients, .. } | Work::Replicated { clients, .. } => Some(clients),
        _ => None,
    }
}

fn introduction(
    findings: &Findings,
    machine: &Machine,
    version: &str,
    options: &Options,
) -> String {
    let settings: Vec<String> =
        SETTINGS.iter().map(|(key, value)| format!("`{key} = {value}`")).collect();
    let mut warnings = String::new();
    if options.quick {
        warnings
            .push_str("\n**A quick run: a tenth of the data, short runs. Not for comparison.**\n");
    }
    if machine.is_busy() {
        warnings.push_str(
            "\n**The machine had other work: times and throughput are rough, ratios wide. CPU, syncs and round \
             trips are sound.**\n",
        );
    }
    format!(
        "# Performance

Written by `cargo run -p bench --release`; do not edit. Ratios inside one line mean something, numbers from
different machines do not. Targets are those of issues 3, 4 and 6, as ratios of ours to stock or to plain.
{warnings}
## Set-up

- {date}, commit {commit}. {hardware}; {system}. {version}. Load when it began: {load}, when
  it ended: {end}; the benchmark itself makes 1 to 8.
- **ours**: {nodes} nodes with shardman; tables of {PARTITIONS} partitions, colocated; partitions a node: {placement}.
- **stock**: {nodes} plain servers; node 1 has the parents, its own partitions and `postgres_fdw` ones for the others
  (`async_capable`, `batch_size 1000`, `fetch_size 10000`, `use_remote_estimate false`), all analysed. The same
  partitions are on the same nodes as with ours, so a remote key is remote on both.
- **plain**: one server, tables without partitions, default parallelism.
- The same settings everywhere: {settings}; otherwise those of `shardmanctl dev`.
- Everything on one machine over loopback TCP, clients included, on node 1. Data in the page cache, **WAL on tmpfs**:
  the disk does not decide, so WAL syncs are counted instead. On a real disk add (serial syncs) x (time of a sync).
- Systems take turns run by run, {repetitions} repetitions: of {length} each with `pgbench -M prepared`; of one execution that
  warms up and 3 that are timed (100 if below 50 ms; their median counts) for statements.
- Values are medians over repetitions. Ratios are the median of the ratios of the repetitions (smallest-largest).
- CPU: user and system time of all server processes of a system, background workers included. Clients are not counted.
- \"By CPU\": CPU time of plain and its clients divided by that of ours and its clients. That is what the ratio of
  throughputs comes to when they keep all cores busy and nobody else does; other work does not disturb it.
- Data: accounts and kv {accounts} rows each, events {events} rows.
",
        date = machine.date,
        commit = machine.commit,
        hardware = machine.hardware,
        system = machine.system,
        load = machine.load,
        end = machine::load(),
        nodes = 3,
        placement = findings.placement,
        settings = settings.join(", "),
        repetitions = options.repetitions(),
        length = match options.length() {
            Length { transactions: Some(count), .. } => format!("{count} transactions"),
            Length { seconds, .. } => format!("{seconds} s"),
        },
        accounts = number(options.accounts() as f64),
        events = number(options.events() as f64),
    )
}

/// What is missed is said before any table.
fn shortfalls(findings: &Findings) -> String {
    let mut text = String::from("## What falls short\n\n");
    let mut count = 0;
    let mut add = |line: String| {
        text.push_str(&format!("- {line}\n"));
        count += 1;
    };
    for Measured { workload, samples } in &findings.measured {
        for (other, target) in &workload.targets {
            let asked = format!(
                "{} ({}): {} of {} asked",
                workload.name,
                workload.description,
                target.text(),
                other.name()
            );
            match ratio(samples, *other) {
                Ok(found) if target.is_met(found.median) => {}
                Ok(found) => add(format!("**{asked}, {} reached**", spread(found))),
                Err(reason) => add(format!("{asked}, not known: {reason}")),
            }
        }
    }
    for RoundTrips { traced, counts } in &findings.round_trips {
        let Some(target) = traced.target else { continue };
        let asked = format!("round trips of {}: {} asked", traced.description, trips(target));
        match &counts[0] {
            Ok(found) if *found <= target => {}
            Ok(found) => add(format!("**{asked}, {} counted**", trips(*found))),
            Err(reason) => add(format!("{asked}, not known: {reason}")),
        }
    }
    if count == 0 {
        text.push_str("Nothing of what was measured in this run.\n");
    }
    text
}

fn table<'a>(title: &str, cpu: &str, lines: impl Iterator<Item = &'a Measured>) -> Option<String> {
    let cpu = format!("{cpu} (ours, stock, plain)");
    let mut table = Table::new(&[
        "workload",
        "what",
        "ours",
        "stock",
        "plain",
        "ours/stock",
        "target",
        "ours/plain",
        "target",
        "ours/plain by CPU",
        &cpu,
        "WAL syncs (ours, stock, plain)",
    ]);
    let mut count = 0;
    for Measured { workload, samples } in lines {
        table.row(&line(workload, samples));
        count += 1;
    }
    (count > 0).then(|| format!("## {title}\n\n{}", table.into_text()))
}

fn line(workload: &Workload, samples: &[Samples; 3]) -> Vec<String> {
    let medians = |read: fn(&Sample) -> Option<f64>, write: fn(f64) -> String| {
        samples.each_ref().map(|samples| {
            let found = samples.as_ref().ok().map(|samples| samples.iter().filter_map(read));
            found.and_then(Spread::of).map_or("n/a".to_owned(), |found| write(found.median))
        })
    };
    let name = match workload.work {
        Work::Copy => format!("{} (stock: a tenth, scaled)", workload.name),
        _ => workload.name.clone(),
    };
    let mut cells = vec![name, workload.description.to_owned()];
    cells.extend(medians(|sample| Some(sample.value), number));
    for other in [Kind::Stock, Kind::Plain] {
        let found = ratio(samples, other);
        cells.push(found.as_ref().map_or("n/a".to_owned(), |found| spread(*found)));
        cells.push(match (workload.target(other), found) {
            (None, _) => String::new(),
            (Some(target), Err(_)) => format!("{}: n/a", target.text()),
            (Some(target), Ok(found)) if target.is_met(found.median) => {
                format!("{}: met", target.text())
            }
            (Some(target), Ok(_)) => format!("{}: **missed**", target.text()),
        });
    }
    cells.push(by_cpu(samples).map_or(String::new(), spread));
    cells.push(medians(|sample| Some(sample.cpu_us), number).join(", "));
    cells.push(medians(|sample| sample.wal_syncs, |syncs| format!("{syncs:.2}")).join(", "));
    cells
}

fn round_trips(all: &[RoundTrips]) -> Option<String> {
    if all.is_empty() {
        return None;
    }
    let mut table = Table::new(&["statement", "ours", "stock", "target for ours"]);
    for RoundTrips { traced, counts } in all {
        let [ours, stock] = counts.each_ref().map(|count| match count {
            Ok(count) => trips(*count),
            Err(_) => "n/a".to_owned(),
        });
        let target = traced.target.map(trips).unwrap_or_default();
        table.row(&[traced.description.to_owned(), ours, stock, target]);
    }
    Some(format!(
        "## Round trips between node 1 and the others\n\nCounted by a proxy: how often node 1 spoke to another node \
         after having listened to it. Means of 5 executions\nin a session that has run the statement 8 times, keys of \
         node 2, prepared.\n\n{}",
        table.into_text()
    ))
}

/// A number of round trips: whole, unless some executions needed more.
fn trips(count: f64) -> String {
    if count.fract() == 0.0 { format!("{count:.0}") } else { format!("{count:.1}") }
}

/// The reasons behind every "n/a".
fn missing(findings: &Findings) -> Option<String> {
    let mut lines = Vec::new();
    for Measured { workload, samples } in &findings.measured {
        for (kind, samples) in Kind::ALL.iter().zip(samples) {
            if let Err(reason) = samples {
                lines.push(format!("- {}, {}: {reason}", workload.name, kind.name()));
            }
        }
    }
    for RoundTrips { traced, counts } in &findings.round_trips {
        for (kind, count) in Kind::ALL.iter().zip(counts) {
            if let Err(reason) = count {
                lines.push(format!(
                    "- round trips, {}, {}: {reason}",
                    traced.description,
                    kind.name()
                ));
            }
        }
    }
    (!lines.is_empty()).then(|| format!("## Not measured\n\n{}\n", lines.join("\n")))
}

/// Of ours to plain, as CPU times tell; none where clients were not measured.
fn by_cpu(samples: &[Samples; 3]) -> Option<Spread> {
    let [ours, _, plain] = samples;
    Spread::of_cpu(ours.as_ref().ok()?, plain.as_ref().ok()?)
}

/// Of ours to `other`; or why there is none.
fn ratio(samples: &[Samples; 3], other: Kind) -> Result<Spread, String> {
    let theirs = match other {
        Kind::Ours => 0,
        Kind::Stock => 1,
        Kind::Plain => 2,
    };
    let of = |index: usize| {
        let found = samples[index].as_ref();
        found.map_err(|reason| format!("{}: {reason}", Kind::ALL[index].name()))
    };
    Spread::of_ratios(of(0)?, of(theirs)?).ok_or_else(|| "no runs".to_owned())
}
