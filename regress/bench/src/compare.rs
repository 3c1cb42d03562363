//! The whole comparison: three systems, the same data, all workloads.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};

use crate::catalogue;
use crate::keys::{Keys, PARTITIONS};
use crate::options::Options;
use crate::run::Runner;
use crate::sample::{Sample, Samples};
use crate::servers::{Servers, Shape};
use crate::system::{Kind, System};
use crate::tables::{self, CopyFiles};
use crate::tools::Tools;
use crate::wire::{TRACED, Tap, Traced};
use crate::workload::{Data, Workload};

/// Set by the handler of SIGINT and SIGTERM: end soon, and clean up.
pub static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Servers of ours and of stock.
const NODES: u16 = 3;

/// The systems, in the order of [`Kind::ALL`]; or why one is missing.
type Systems<'a> = [Result<System<'a>, String>; 3];

/// What all systems gave for one workload, in the order of [`Kind::ALL`].
pub struct Measured {
    /// The workload.
    pub workload: Workload,
    /// The runs of each system.
    pub samples: [Samples; 3],
}

/// Round trips of ours and of stock.
pub struct RoundTrips {
    /// Of what.
    pub traced: &'static Traced,
    /// How many, or why that is not known.
    pub counts: [Result<f64, String>; 2],
}

/// Everything that was measured.
pub struct Findings {
    /// By pgbench, by statements.
    pub measured: Vec<Measured>,
    /// On the wire.
    pub round_trips: Vec<RoundTrips>,
    /// Partitions that each server of ours and stock holds.
    pub placement: String,
}

/// Runs it.
pub fn compare(tools: &Tools, options: &Options) -> anyhow::Result<Findings> {
    check_names(options)?;
    let dir = scratch(options)?;
    let outcome = compare_in(tools, options, &dir);
    fs::remove_dir_all(&dir.data).ok();
    fs::remove_dir_all(&dir.wal).ok();
    outcome
}

/// Directories of this benchmark alone.
struct Scratch {
    data: PathBuf,
    wal: PathBuf,
    /// Locked; the lock goes with the file.
    _lock: fs::File,
}

/// Two benchmarks with the same ports would disturb each other.
fn scratch(options: &Options) -> anyhow::Result<Scratch> {
    let name = format!("shardman-bench-{}", options.base_port);
    let data = options.dir.clone().unwrap_or_else(std::env::temp_dir).join(&name);
    fs::create_dir_all(&data).with_context(|| format!("could not make {}", data.display()))?;
    let lock = fs::File::create(data.join("lock"))
        .with_context(|| format!("could not write in {}", data.display()))?;
    if lock.try_lock().is_err() {
        bail!("another benchmark runs in {}; choose --dir and --base-port", data.display());
    }
    let wal = options.wal_dir.join(&name);
    fs::create_dir_all(&wal).with_context(|| format!("could not make {}", wal.display()))?;
    Ok(Scratch { data, wal, _lock: lock })
}

fn compare_in(tools: &Tools, options: &Options, dir: &Scratch) -> anyhow::Result<Findings> {
    let data = needed(options);
    let (systems, keys) = match data {
        Data::Whole => set_up(tools, options, dir)?,
        Data::Copies => (set_up_copies(tools, options, dir)?, Keys::none()),
    };
    let plain = systems[2].as_ref().map_err(|reason| anyhow::anyhow!("{reason}"))?;
    let files = match data {
        Data::Whole => tables::write_copy_files(tools, plain, &dir.data, options.events())?,
        Data::Copies => CopyFiles::default(),
    };
    let mut runner = Runner::new(tools, &dir.data, files, options.events(), options.length());

    let mut measured = Vec::new();
    let all = catalogue::workloads(&keys).into_iter();
    for workload in all.filter(|workload| options.is_wanted(&workload.name)) {
        let samples = interleaved(&workload, &systems, &mut runner, options.repetitions())?;
        measured.push(Measured { workload, samples });
    }
    let round_trips =
        if options.is_wanted("wire") { count_round_trips(&systems, &keys) } else { Vec::new() };
    let counts: Vec<String> = keys.counts().values().map(usize::to_string).collect();
    Ok(Findings { measured, round_trips, placement: counts.join(", ") })
}

/// Refuses names on the command line that no workload has.
fn check_names(options: &Options) -> anyhow::Result<()> {
    let all = catalogue::workloads(&Keys::none());
    let known = |name: &String| name == "wire" || all.iter().any(|w| w.name == *name);
    match options.only.iter().find(|name| !known(name)) {
        Some(unknown) => bail!("there is no workload \"{unknown}\"; see --list"),
        None => Ok(()),
    }
}

/// What all that is asked for needs.
fn needed(options: &Options) -> Data {
    let all = catalogue::workloads(&Keys::none());
    let mut wanted = all.iter().filter(|workload| options.is_wanted(&workload.name));
    let is_small = !options.is_wanted("wire") && wanted.all(|it| it.data == Data::Copies);
    if is_small { Data::Copies } else { Data::Whole }
}

/// One server each for plain, three for the others.
fn start<'a>(
    tools: &'a Tools,
    options: &Options,
    dir: &Scratch,
) -> [anyhow::Result<System<'a>>; 3] {
    let mut base_port = options.base_port;
    Kind::ALL.map(|kind| {
        let count = if kind == Kind::Plain { 1 } else { NODES };
        let shape = Shape { name: kind.name(), count, is_cluster: kind == Kind::Ours, base_port };
        base_port += count;
        progress(&format!("starting {} …", kind.name()));
        Servers::start(tools, &dir.data, &dir.wal, &shape).map(|servers| System { kind, servers })
    })
}

/// Three running systems with the tables that are the same on all servers alone.
fn set_up_copies<'a>(
    tools: &'a Tools,
    options: &Options,
    dir: &Scratch,
) -> anyhow::Result<Systems<'a>> {
    let systems = start(tools, options, dir).map(|system| {
        let system = system?;
        tables::create_copies(&system)?;
        system.servers.run_on_all("CHECKPOINT")?;
        Ok(system)
    });
    check_interrupted()?;
    Ok(systems.map(|system| system.map_err(|error: anyhow::Error| reason(&error))))
}

/// Three running systems with data. Ours comes first, because stock has its
/// partitions where ours placed them.
fn set_up<'a>(
    tools: &'a Tools,
    options: &Options,
    dir: &Scratch,
) -> anyhow::Result<(Systems<'a>, Keys)> {
    let [mut ours, stock, plain] = start(tools, options, dir);
    let plain = plain.context("the plain server is needed in any case")?;

    let mut placement = Keys::round_robin(NODES);
    if let Ok(system) = &ours {
        let placed = tables::create(system, None).and_then(|()| tables::placement(system));
        match placed {
            Ok(found) => placement = found,
            Err(error) => ours = Err(error.context("could not make the tables")),
        }
    }
    let rows = options.accounts() / PARTITIONS as i64;
    let keys = Keys::find(&plain.client()?, placement, rows)?;
    let stock = stock.and_then(|system| {
        tables::create_stock_servers(&system)?;
        tables::create(&system, Some(&keys))?;
        Ok(system)
    });
    let plain = tables::create(&plain, None).map(|()| plain);
    let systems = [ours, stock, plain].map(|system| {
        let system = system?;
        let start = Instant::now();
        tables::load(&system, &keys, options.events()).context("could not load the data")?;
        let seconds = start.elapsed().as_secs();
        progress(&format!("{}: loaded in {seconds} s", system.kind.name()));
        let misplaced = match system.kind {
            Kind::Plain => 0,
            _ => tables::misplaced(&system, &keys)?,
        };
        if misplaced > 0 {
            bail!("{misplaced} keys are not where they should be");
        }
        check_interrupted()?;
        Ok(system)
    });
    check_interrupted()?;
    Ok((systems.map(|system| system.map_err(|error| reason(&error))), keys))
}

/// Runs one workload on each system, one after the other, again and again.
fn interleaved(
    workload: &Workload,
    systems: &Systems<'_>,
    runner: &mut Runner<'_>,
    repetitions: u32,
) -> anyhow::Result<[Samples; 3]> {
    let mut samples: [Samples; 3] = [(); 3].map(|()| Ok(Vec::new()));
    let mut rows: [Option<Vec<String>>; 3] = [const { None }; 3];
    for repetition in 1..=repetitions {
        for (i, system) in systems.iter().enumerate() {
            check_interrupted()?;
            let Ok(done) = &mut samples[i] else { continue };
            let run = match system {
                Ok(system) => runner.run(workload, system).map_err(|error| reason(&error)),
                Err(reason) => Err(reason.clone()),
            };
            // A signal to us has ended pgbench as well.
            check_interrupted()?;
            match run {
                Ok(run) => {
                    progress(&told(workload, repetition, Kind::ALL[i], run.sample));
                    done.push(run.sample);
                    rows[i] = run.rows;
                }
                Err(reason) => {
                    let kind = Kind::ALL[i].name();
                    progress(&format!("{}: {kind}: n/a: {reason}", workload.name));
                    samples[i] = Err(reason);
                }
            }
        }
    }
    // What is fast and wrong is not fast.
    let (compared, plain) = rows.split_at(2);
    for (i, found) in compared.iter().enumerate() {
        if found.is_some() && plain[0].is_some() && *found != plain[0] {
            samples[i] = Err("its rows differ from those of plain PostgreSQL".to_owned());
            progress(&format!("{}: {}: wrong rows", workload.name, Kind::ALL[i].name()));
        }
    }
    Ok(samples)
}

fn count_round_trips(systems: &Systems<'_>, keys: &Keys) -> Vec<RoundTrips> {
    let [ours, stock, _] = systems;
    let taps = [ours, stock].map(|system| match system {
        Ok(system) => Tap::put_into(system).map_err(|error| reason(&error)),
        Err(reason) => Err(reason.clone()),
    });
    let count = |tap: &Result<Tap<'_>, String>, traced: &Traced| match tap {
        Ok(tap) => tap.round_trips(traced, keys).map_err(|error| reason(&error)),
        Err(reason) => Err(reason.clone()),
    };
    TRACED
        .iter()
        .map(|traced| {
            let counts = [count(&taps[0], traced), count(&taps[1], traced)];
            progress(&format!("wire: {}: {counts:?}", traced.description));
            RoundTrips { traced, counts }
        })
        .collect()
}

fn told(workload: &Workload, repetition: u32, kind: Kind, sample: Sample) -> String {
    let syncs = sample.wal_syncs.map(|syncs| format!(", {syncs:.2} WAL syncs"));
    format!(
        "{} #{repetition} {}: {:.1}, {:.0} us CPU{}{}",
        workload.name,
        kind.name(),
        sample.value,
        sample.cpu_us,
        sample.client_us.map(|us| format!(" + {us:.0} of clients")).unwrap_or_default(),
        syncs.unwrap_or_default()
    )
}

fn check_interrupted() -> anyhow::Result<()> {
    if IS_INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}

/// One line that says why something is not there.
fn reason(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(240) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}

fn progress(text: &str) {
    eprintln!("bench: {text}");
}
