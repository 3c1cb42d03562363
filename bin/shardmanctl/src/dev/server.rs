//! One server of a development cluster: made, started, stopped.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use super::account::Account;
use super::binaries::Binaries;
use super::process::{Activity, Processes};
use super::settings;
use super::state::{Node, State};
use crate::cli::StopMode;
use crate::exit::Refused;

const SETTINGS_FILE: &str = "shardman-dev.conf";
const LOG_TAIL_BYTES: u64 = 3000;

/// One server: node `number` of the cluster in `dir`.
pub struct Server<'a> {
    pub account: &'a Account,
    pub binaries: &'a Binaries,
    /// The cluster's directory, absolute.
    pub dir: &'a Path,
    pub node: &'a Node,
}

impl Server<'_> {
    /// Where its data are.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join(format!("node{}", self.node.number))
    }

    /// Where it writes its messages.
    pub fn log_file(&self) -> PathBuf {
        self.dir.join(format!("node{}.log", self.node.number))
    }

    /// Its processes.
    pub fn processes(&self) -> Processes {
        Processes::of(&self.data_dir())
    }

    /// initdb and configuration; what an interrupted attempt left is removed.
    pub fn initialize(&self, state: &State) -> anyhow::Result<()> {
        let data = self.data_dir();
        if data.exists() {
            fs::remove_dir_all(&data)
                .with_context(|| format!("could not remove {}", data.display()))?;
        }
        let mut initdb = self.account.command(self.binaries.program("initdb"));
        // One locale on every machine: every node must hash and sort alike.
        initdb.arg("--pgdata").arg(&data).args(["--username", "postgres", "--auth", "trust"]);
        initdb.args(["--encoding", "UTF8", "--locale", "C.UTF-8", "--no-instructions"]);
        if !state.is_durable {
            initdb.arg("--no-sync");
        }
        run(initdb, "initdb")?;
        let run_dir = self.dir.join("run");
        let write = |name: &str, text: &str| {
            let path = data.join(name);
            fs::write(&path, text)
                .with_context(|| format!("could not write {}", path.display()))?;
            self.account.own(&path)
        };
        write(SETTINGS_FILE, &settings::postgresql_conf(state, self.node, &run_dir))?;
        write("pg_hba.conf", settings::pg_hba_conf())?;
        let main = data.join("postgresql.conf");
        let text = fs::read_to_string(&main)
            .with_context(|| format!("could not read {}", main.display()))?;
        write("postgresql.conf", &format!("{text}\ninclude '{SETTINGS_FILE}'\n"))
    }

    /// Refuses if someone else listens on the server's port.
    pub fn check_port(&self) -> anyhow::Result<()> {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, self.node.port)) {
            Ok(_) => Ok(()),
            Err(error) => bail!(Refused(format!(
                "node {} cannot listen on 127.0.0.1 port {}: {error}",
                self.node.number, self.node.port
            ))),
        }
    }

    /// Starts a stopped server; returns when it accepts connections, and says
    /// whether there was anything to do.
    pub fn start(&self, timeout: Duration) -> anyhow::Result<bool> {
        match self.processes().activity()? {
            Activity::Running => return Ok(false),
            Activity::Paused => bail!(Refused(format!(
                "node {number} is paused; resume it with dev resume --node {number}",
                number = self.node.number
            ))),
            // Children without a postmaster hold the shared memory.
            Activity::Orphaned => {
                self.processes().kill()?;
            }
            Activity::Stopped => {}
        }
        Processes::forget_zombie(&self.data_dir().join("postmaster.pid"))?;
        let socket_lock = format!("run/.s.PGSQL.{}.lock", self.node.port);
        Processes::forget_zombie(&self.dir.join(socket_lock))?;
        self.check_port()?;
        let mut pg_ctl = self.pg_ctl("start", timeout);
        pg_ctl.arg("--log").arg(self.log_file());
        if let Err(error) = run(pg_ctl, "pg_ctl start") {
            let (number, tail) = (self.node.number, self.log_tail());
            bail!("node {number} did not start: {error:#}\nits log ends with\n{tail}");
        }
        Ok(true)
    }

    /// Stops a server, paused or not; says whether there was anything to do.
    pub fn stop(&self, mode: StopMode, timeout: Duration) -> anyhow::Result<bool> {
        match self.processes().activity()? {
            Activity::Stopped => return Ok(false),
            Activity::Orphaned => {
                self.processes().kill()?;
                return Ok(true);
            }
            Activity::Paused => {
                self.processes().thaw()?;
            }
            Activity::Running => {}
        }
        let mut pg_ctl = self.pg_ctl("stop", timeout);
        pg_ctl.args(["--mode", mode.word()]);
        if let Err(error) = run(pg_ctl, "pg_ctl stop") {
            let (number, tail) = (self.node.number, self.log_tail());
            bail!(
                "node {number} did not stop (dev kill --node {number} would): {error:#}\nits log \
                 ends with\n{tail}"
            );
        }
        Ok(true)
    }

    /// The last lines of its log, indented.
    pub fn log_tail(&self) -> String {
        match tail(&self.log_file()) {
            Ok(text) if text.trim().is_empty() => "  (the log is empty)".to_owned(),
            Ok(text) => indent(&text),
            Err(error) => format!("  (could not read {}: {error})", self.log_file().display()),
        }
    }

    fn pg_ctl(&self, action: &str, timeout: Duration) -> Command {
        let mut command = self.account.command(self.binaries.program("pg_ctl"));
        command.arg(action).arg("--pgdata").arg(self.data_dir()).arg("--wait");
        command.args(["--silent", "--timeout", &timeout.as_secs().to_string()]);
        command
    }
}

/// Runs `command` to its end; an error holds what it printed.
fn run(mut command: Command, name: &str) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("could not run {name}"))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        bail!("{name} failed ({}):\n{}", output.status, indent(&String::from_utf8_lossy(&text)));
    }
    Ok(())
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if length <= LOG_TAIL_BYTES {
        return Ok(text);
    }
    // The first line is cut somewhere.
    Ok(text.split_once('\n').map_or(text.clone(), |(_, rest)| rest.to_owned()))
}

fn indent(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_starts_at_a_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let lines: String = (0..1000).map(|i| format!("line {i}\n")).collect();
        fs::write(&path, &lines).unwrap();
        let end = tail(&path).unwrap();
        assert!(end.starts_with("line "));
        assert!(end.ends_with("line 999\n"));
        assert!(end.len() <= 3000);
    }
}
