//! A cluster that lives as long as one test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::places;
use crate::ports::PortBlock;
use crate::proxy::Proxy;
use crate::session::Session;

/// For one call of shardmanctl, which has closer bounds of its own.
const COMMAND_BOUND_SECONDS: u32 = 240;
const START_ATTEMPTS: u32 = 3;
/// Where proxies listen, each on its server's port.
const PEER_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const LOG_LINES_SHOWN: usize = 40;

/// What to start.
pub struct Shape<'a> {
    /// Number of nodes.
    pub nodes: u16,
    /// Servers without the extension.
    pub is_plain: bool,
    /// Settings for postgresql.conf, as `key=value`.
    pub config: &'a [&'a str],
}

/// Servers of this test alone; dropped, they and their directory are gone.
pub struct TestCluster {
    program: PathBuf,
    dir: PathBuf,
    /// Gone before their ports are given back.
    proxies: Vec<Proxy>,
    ports: PortBlock,
    kills_processes: AtomicBool,
}

impl TestCluster {
    /// A cluster of `nodes` nodes, all of them active.
    pub fn up(nodes: u16) -> anyhow::Result<Self> {
        Self::start(&Shape { nodes, is_plain: false, config: &[] })
    }

    /// One PostgreSQL server without the extension, to compare with.
    pub fn plain() -> anyhow::Result<Self> {
        Self::start(&Shape { nodes: 1, is_plain: true, config: &[] })
    }

    /// A cluster whose nodes reach each other through [`proxy`](Self::proxy).
    pub fn with_proxies(nodes: u16) -> anyhow::Result<Self> {
        Self::start_in_any_ports(&Shape { nodes, is_plain: false, config: &[] }, true)
    }

    /// What `shape` says.
    pub fn start(shape: &Shape<'_>) -> anyhow::Result<Self> {
        Self::start_in_any_ports(shape, false)
    }

    fn start_in_any_ports(shape: &Shape<'_>, has_proxies: bool) -> anyhow::Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::try_start(shape, has_proxies) {
                // A program that knows nothing of our blocks was faster.
                Err(error)
                    if attempt < START_ATTEMPTS
                        && format!("{error:#}").contains("Address already in use") =>
                {
                    eprintln!("trying other ports: {error:#}");
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn try_start(shape: &Shape<'_>, has_proxies: bool) -> anyhow::Result<Self> {
        let program = places::shardmanctl()?;
        let ports = PortBlock::reserve()?;
        let mut cluster = Self {
            program,
            dir: places::scratch("c")?,
            ports,
            proxies: Vec::new(),
            kills_processes: AtomicBool::new(false),
        };
        let nodes = shape.nodes.to_string();
        let base_port = cluster.ports.base().to_string();
        let mut arguments = vec!["up", "--nodes", &nodes, "--base-port", &base_port, "--no-fsync"];
        let peer_host = PEER_ADDRESS.to_string();
        if has_proxies {
            arguments.extend(["--peer-host", &peer_host]);
            for node in 1..=shape.nodes {
                let port = cluster.port(node);
                let here = SocketAddr::from((PEER_ADDRESS, port));
                let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                cluster.proxies.push(Proxy::start(here, server)?);
            }
        }
        if shape.is_plain {
            arguments.push("--plain");
        }
        for setting in shape.config {
            arguments.extend(["--config", setting]);
        }
        cluster.dev(&arguments)?;
        Ok(cluster)
    }

    /// Runs `shardmanctl dev` on this cluster; returns what it printed.
    pub fn dev(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let dir = self.dir.to_str().context("the directory's name is not UTF-8")?;
        let (command, rest) = arguments.split_first().context("no command")?;
        let all = [&["dev", command, "--dir", dir][..], rest].concat();
        self.ctl(&all)
    }

    /// Runs `shardmanctl --json`; an error holds the exit code and what it said.
    pub fn ctl(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self.ctl_output(arguments)?;
        if !output.status.success() {
            bail!(
                "shardmanctl {} ended with {}:\n{}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        serde_json::from_slice(&output.stdout).context("shardmanctl --json printed no JSON")
    }

    /// Runs `shardmanctl --json` and returns whatever comes of it.
    pub fn ctl_output(&self, arguments: &[&str]) -> anyhow::Result<std::process::Output> {
        Command::new("timeout")
            .args(["--kill-after=5", &COMMAND_BOUND_SECONDS.to_string()])
            .arg(&self.program)
            .arg("--json")
            .args(arguments)
            .env_remove("SHARDMAN_CONNSTR")
            .output()
            .with_context(|| format!("could not run {}", self.program.display()))
    }

    /// Runs `dev COMMAND --node K`.
    pub fn on_node(&self, command: &str, node: u16) -> anyhow::Result<Value> {
        self.dev(&[command, "--node", &node.to_string()])
    }

    /// What stands between node `node` and those that connect to it.
    ///
    /// Panics if the cluster was started without proxies.
    pub fn proxy(&self, node: u16) -> &Proxy {
        &self.proxies[usize::from(node) - 1]
    }

    /// Has node `node` and the others not reach each other until what this gives
    /// is dropped; clients reach all.
    ///
    /// Panics if the cluster was started without proxies.
    pub fn cut_off(&self, node: u16) -> CutOff<'_> {
        for (other, proxy) in (1..).zip(&self.proxies) {
            let refused: Vec<u16> = if other == node {
                (1..=self.proxies.len() as u16).filter(|it| *it != node).collect()
            } else {
                vec![node]
            };
            proxy.refuse_nodes(&refused);
        }
        CutOff(&self.proxies)
    }

    /// Kills one process of a server, which restarts all its others. A test
    /// that does this is not failed for the crash in the server's log.
    pub fn kill_process(&self, pid: i64) -> anyhow::Result<()> {
        self.kills_processes.store(true, Ordering::Relaxed);
        let pid = Pid::from_raw(i32::try_from(pid)?);
        kill(pid, Signal::SIGKILL).with_context(|| format!("could not kill process {pid}"))
    }

    /// The port of node `node`; the first is 1.
    pub fn port(&self, node: u16) -> u16 {
        self.ports.base() + node - 1
    }

    /// How psql would connect to node `node`.
    pub fn connstr(&self, node: u16) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port(node))
    }

    /// A new session on node `node`.
    pub fn session(&self, node: u16) -> anyhow::Result<Session> {
        Session::open(&self.connstr(node))
    }

    /// A session on node `node`, logged in as another node would be.
    pub fn node_session(&self, node: u16) -> anyhow::Result<Session> {
        let directory = self.session(node)?.value("SHOW data_directory")?;
        let identity = std::fs::read_to_string(format!("{directory}/shardman/identity.json"))?;
        let identity: Value = serde_json::from_str(&identity)?;
        let credential = identity["credential"].as_str().context("no credential")?;
        Session::open(&format!(
            "host=127.0.0.1 port={} user=shardman_node dbname=postgres password={credential}",
            self.port(node)
        ))
    }

    /// The state that `dev status` tells of node `node`.
    pub fn server_state(&self, node: u16) -> anyhow::Result<String> {
        let field = self.node_field(node, "state")?;
        Ok(field.as_str().context("a state is a string")?.to_owned())
    }

    /// The id in the cluster of node `node`.
    pub fn member_id(&self, node: u16) -> anyhow::Result<i64> {
        self.node_field(node, "id")?.as_i64().with_context(|| format!("node {node} has no id"))
    }

    /// The node whose id in the cluster is `id`.
    pub fn node_with_id(&self, id: i64) -> anyhow::Result<u16> {
        for node in 1..=self.count()? {
            if self.member_id(node)? == id {
                return Ok(node);
            }
        }
        bail!("no node of this cluster has the id {id}")
    }

    /// Number of nodes now.
    pub fn count(&self) -> anyhow::Result<u16> {
        let status = self.dev(&["status"])?;
        Ok(u16::try_from(status["nodes"].as_array().context("no list of nodes")?.len())?)
    }

    /// The cluster's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn node_field(&self, node: u16, field: &str) -> anyhow::Result<Value> {
        let status = self.dev(&["status"])?;
        let nodes = status["nodes"].as_array().context("no list of nodes")?;
        let found = nodes.iter().find(|entry| entry["node"] == node);
        Ok(found.with_context(|| format!("there is no node {node}"))?[field].clone())
    }

    /// The servers' logs, by name.
    fn logs(&self) -> Vec<(String, String)> {
        let Ok(entries) = self.dir.read_dir() else { return Vec::new() };
        entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .map(|path| {
                let text = std::fs::read(&path).unwrap_or_default();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                (name, String::from_utf8_lossy(&text).into_owned())
            })
            .collect()
    }

    /// Keeps the logs in `SHARDMAN_TEST_LOGS`, if that is set: the cluster's
    /// directory goes, and a failure may be understood only later.
    fn save_logs(&self, logs: &[(String, String)]) {
        let Some(place) = std::env::var_os("SHARDMAN_TEST_LOGS") else { return };
        let test = std::thread::current().name().unwrap_or("test").replace("::", "-");
        let place = PathBuf::from(place).join(format!("{test}-{}", self.ports.base()));
        let saved = std::fs::create_dir_all(&place).and_then(|()| {
            logs.iter().try_for_each(|(name, text)| std::fs::write(place.join(name), text))
        });
        if let Err(error) = saved {
            eprintln!("could not keep logs in {}: {error}", place.display());
        }
    }
}

/// A node that is cut off from the others; dropped, it is so no more.
pub struct CutOff<'a>(&'a [Proxy]);

impl Drop for CutOff<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|proxy| proxy.refuse_nodes(&[]));
    }
}

/// Signs of a server process that crashed by itself. A server that a test
/// kills has no time to write such a line; if the test kills single processes,
/// that signal says nothing.
fn crash_in(log: &str, kills_processes: bool) -> Option<&str> {
    let is_crash = |line: &&str| {
        let is_ended = line.contains("was terminated by signal")
            && !(kills_processes && line.contains("was terminated by signal 9"));
        is_ended || line.contains("PANIC:  ")
    };
    log.lines().find(is_crash)
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        let logs = self.logs();
        self.save_logs(&logs);
        let is_panicking = std::thread::panicking();
        if is_panicking {
            for (name, text) in &logs {
                let lines: Vec<&str> = text.lines().collect();
                let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
                eprintln!("--- end of {name}\n{}", shown.join("\n"));
            }
        }
        if std::env::var_os("SHARDMAN_TEST_KEEP").is_some() {
            eprintln!("kept: {}", self.dir.display());
            return;
        }
        if self.dir.exists()
            && let Err(error) = self.dev(&["destroy"])
        {
            eprintln!("could not clean up {}: {error:#}", self.dir.display());
        }
        // Whatever the test was about, no server may crash under it.
        for (name, text) in &logs {
            if let Some(line) = crash_in(text, self.kills_processes.load(Ordering::Relaxed))
                && !is_panicking
            {
                panic!("a server crashed, says {name}: {line}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_are_told_from_ordinary_errors() {
        let crash = "x [1] LOG:  server process (PID 7) was terminated by signal 11: Segmentation";
        for kills_processes in [false, true] {
            let log = format!("first\n{crash}\nlast");
            assert_eq!(crash_in(&log, kills_processes), Some(crash));
            let farewell = "FATAL:  terminating connection due to administrator command";
            assert!(crash_in(farewell, kills_processes).is_none());
        }
        let killed = "x [1] LOG:  server process (PID 7) was terminated by signal 9: Killed";
        assert_eq!(crash_in(killed, false), Some(killed));
        assert!(crash_in(killed, true).is_none());
    }
}
