//! The benchmark: shardman, stock postgres_fdw and plain PostgreSQL on the same
//! machine, with the same data, interleaved run by run.
//!
//! [`compare`] runs everything: it starts the [`system`]s, fills their
//! [`tables`], runs the workloads of the [`catalogue`] and counts round trips on
//! the [`wire`]. [`report`] writes what came of it as Markdown.

mod catalogue;
mod client;
mod compare;
mod copies;
mod cpu;
mod keys;
mod machine;
mod markdown;
mod options;
mod report;
mod run;
mod sample;
mod servers;
mod system;
mod tables;
mod tools;
mod wire;
mod workload;

use std::fs;
use std::sync::atomic::Ordering;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::compare::{IS_INTERRUPTED, compare};
use crate::keys::Keys;
use crate::machine::Machine;
use crate::options::Options;
use crate::tools::Tools;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.list {
        for workload in catalogue::workloads(&Keys::none()) {
            println!("{:18} {}", workload.name, workload.description);
        }
        println!("{:18} round trips, counted on the wire", "wire");
        return Ok(());
    }
    let tools = Tools::find()?;
    let version = tools.postgres_version()?;
    let machine = Machine::describe();
    watch_signals()?;
    let findings = compare(&tools, &options)?;
    let text = report::text(&findings, &machine, &version, &options);
    println!("{text}");
    if let Some(path) = options.output() {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("could not make {}", parent.display()))?;
        }
        fs::write(&path, &text).with_context(|| format!("could not write {}", path.display()))?;
        eprintln!("bench: written to {}", path.display());
    }
    Ok(())
}

/// Servers outlive a program that is killed: on Ctrl-C and SIGTERM the
/// benchmark ends after the present run and cleans up.
fn watch_signals() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _guard = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => (),
                _ = terminate.recv() => (),
            }
        });
        eprintln!("bench: interrupted; cleaning up after the present run …");
        IS_INTERRUPTED.store(true, Ordering::Relaxed);
    });
    Ok(())
}
