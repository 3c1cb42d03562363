//! The programs of others that the benchmark runs.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

/// Where shardmanctl and PostgreSQL's programs are.
pub struct Tools {
    shardmanctl: PathBuf,
    pg_bindir: PathBuf,
}

impl Tools {
    /// Looks where the environment says, beside this program, and on PATH.
    pub fn find() -> anyhow::Result<Self> {
        Ok(Self { shardmanctl: shardmanctl()?, pg_bindir: pg_bindir()? })
    }

    /// A command of shardmanctl that answers in JSON.
    pub fn shardmanctl(&self) -> Command {
        let mut command = Command::new(&self.shardmanctl);
        command.arg("--json").env_remove("SHARDMAN_CONNSTR");
        command.env("SHARDMAN_PG_BINDIR", &self.pg_bindir);
        command
    }

    /// A command of PostgreSQL, such as pgbench, untouched by PG* variables.
    pub fn postgres(&self, program: &str) -> Command {
        let mut command = Command::new(self.pg_bindir.join(program));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command
    }

    /// What the server program says of its version.
    pub fn postgres_version(&self) -> anyhow::Result<String> {
        let mut command = self.postgres("postgres");
        command.arg("--version");
        output(command, "postgres --version")
    }
}

/// Runs `command` to its end and returns what it printed; an error holds what
/// it complained about.
pub fn output(mut command: Command, name: &str) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("could not run {name}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed ({}): {}", output.status, text.trim());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn shardmanctl() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("SHARDMANCTL") {
        return Ok(PathBuf::from(named));
    }
    let beside = std::env::current_exe()?.with_file_name("shardmanctl");
    if beside.is_file() {
        return Ok(beside);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join("shardmanctl"))
        .find(|path| path.is_file())
        .context("there is no shardmanctl; build it with cargo build --release -p shardmanctl")
}

fn pg_bindir() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("SHARDMAN_PG_BINDIR") {
        return Ok(PathBuf::from(named));
    }
    let program = std::env::var_os("SHARDMAN_PG_CONFIG").unwrap_or_else(|| "pg_config".into());
    let mut command = Command::new(program);
    command.arg("--bindir");
    Ok(PathBuf::from(output(command, "pg_config --bindir")?))
}
