//! Where things are: the program under test, PostgreSQL's tools, scratch space.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, bail};
use nix::unistd::Uid;

/// shardmanctl: `SHARDMANCTL` if set, else the one built beside this test,
/// else the one on PATH.
pub fn shardmanctl() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("SHARDMANCTL") {
        return Ok(PathBuf::from(named));
    }
    // target/debug/deps/test-0123 -> target/debug/shardmanctl
    let test = std::env::current_exe().context("could not find this program")?;
    let beside = test.ancestors().skip(1).take(2).map(|dir| dir.join("shardmanctl"));
    if let Some(built) = beside.into_iter().find(|path| path.is_file()) {
        return Ok(built);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join("shardmanctl"))
        .find(|path| path.is_file())
        .context("there is no shardmanctl; run bin/setup or cargo build -p shardmanctl")
}

/// One answer of the pg_config in use, such as `--bindir`.
pub fn pg_config(question: &str) -> anyhow::Result<PathBuf> {
    let program = std::env::var_os("SHARDMAN_PG_CONFIG").unwrap_or_else(|| "pg_config".into());
    let output = Command::new(&program)
        .arg(question)
        .output()
        .with_context(|| format!("could not run {}; run bin/setup", program.display()))?;
    if !output.status.success() {
        bail!("{} {question} failed", program.display());
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// A new path in a directory that the servers' account can enter; short, for
/// sockets, and never used before by this process.
pub fn scratch(name: &str) -> anyhow::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let base = match std::env::var_os("SHARDMAN_TEST_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(format!("/tmp/shardman-test-{}", Uid::effective())),
    };
    fs::create_dir_all(&base).with_context(|| format!("could not make {}", base.display()))?;
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    Ok(base.join(format!("{name}-{}-{number}", std::process::id())))
}

/// This crate's `suites` directory.
pub fn suites() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("suites")
}
