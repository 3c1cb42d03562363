//! A cluster that lives as long as one test.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::places;
use crate::ports::PortBlock;
use crate::session::Session;

/// For one call of shardmanctl, which has closer bounds of its own.
const COMMAND_BOUND_SECONDS: u32 = 240;
const START_ATTEMPTS: u32 = 3;
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
    ports: PortBlock,
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

    /// What `shape` says.
    pub fn start(shape: &Shape<'_>) -> anyhow::Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::try_start(shape) {
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

    fn try_start(shape: &Shape<'_>) -> anyhow::Result<Self> {
        let program = places::shardmanctl()?;
        let ports = PortBlock::reserve()?;
        let cluster = Self { program, dir: places::scratch("c")?, ports };
        let nodes = shape.nodes.to_string();
        let base_port = cluster.ports.base().to_string();
        let mut arguments = vec!["up", "--nodes", &nodes, "--base-port", &base_port, "--no-fsync"];
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

/// Signs of a server process that crashed by itself. A server that a test
/// kills has no time to write such a line.
fn crash_in(log: &str) -> Option<&str> {
    log.lines().find(|line| line.contains("was terminated by signal") || line.contains("PANIC:  "))
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
            if let Some(line) = crash_in(text)
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
        assert_eq!(crash_in(&format!("first\n{crash}\nlast")), Some(crash));
        assert!(crash_in("FATAL:  terminating connection due to administrator command").is_none());
    }
}
