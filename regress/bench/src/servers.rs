//! The servers of one system, started and thrown away by shardmanctl, with
//! their WAL on tmpfs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::client::Client;
use crate::tools::{Tools, output};

/// The same for every server of every system; see shared/reference/performance.md.
pub const SETTINGS: &[(&str, &str)] = &[
    ("shared_buffers", "512MB"),
    ("max_connections", "200"),
    ("max_prepared_transactions", "200"),
    ("max_locks_per_transaction", "256"),
    ("jit", "off"),
    ("autovacuum", "off"),
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("enable_partitionwise_join", "on"),
    ("enable_partitionwise_aggregate", "on"),
    // Checkpoints come when the benchmark asks for them, outside of its runs.
    ("checkpoint_timeout", "1h"),
    ("max_wal_size", "2GB"),
];

/// What to start.
pub struct Shape<'a> {
    /// A word for directories.
    pub name: &'a str,
    /// Number of servers.
    pub count: u16,
    /// Whether they form a shardman cluster.
    pub is_cluster: bool,
    /// The port of the first.
    pub base_port: u16,
}

/// Running servers; dropped, they and their files are gone.
pub struct Servers<'a> {
    tools: &'a Tools,
    dir: PathBuf,
    wal_dir: PathBuf,
    base_port: u16,
    count: u16,
}

impl<'a> Servers<'a> {
    /// Starts servers in `dir`, with WAL in `wal_dir`. What an interrupted
    /// benchmark left in these places is removed first.
    pub fn start(
        tools: &'a Tools,
        dir: &Path,
        wal_dir: &Path,
        shape: &Shape<'_>,
    ) -> anyhow::Result<Self> {
        let servers = Self {
            tools,
            dir: dir.join(shape.name),
            wal_dir: wal_dir.join(shape.name),
            base_port: shape.base_port,
            count: shape.count,
        };
        servers.destroy()?;
        let mut arguments = vec![
            format!("--nodes={}", shape.count),
            format!("--base-port={}", shape.base_port),
            "--no-fsync".to_owned(),
        ];
        if !shape.is_cluster {
            arguments.push("--plain".to_owned());
        }
        arguments.extend(SETTINGS.iter().map(|(key, value)| format!("--config={key}={value}")));
        servers.dev("up", &arguments)?;
        servers.move_wal()?;
        Ok(servers)
    }

    /// The port of server `number`; the first is 1.
    pub fn port(&self, number: u16) -> u16 {
        self.base_port + number - 1
    }

    /// Number of servers.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// A new session with server `number`.
    pub fn client(&self, number: u16) -> anyhow::Result<Client> {
        Client::connect(self.port(number))
    }

    /// Runs `sql` on every server, in a session of its own.
    pub fn run_on_all(&self, sql: &str) -> anyhow::Result<()> {
        for number in 1..=self.count {
            self.client(number)?.run(sql).with_context(|| format!("on server {number}"))?;
        }
        Ok(())
    }

    /// The id in the cluster of each server, in their order.
    pub fn member_ids(&self) -> anyhow::Result<Vec<i64>> {
        let status = self.dev("status", &[])?;
        let nodes = status["nodes"].as_array().context("no list of nodes")?;
        nodes.iter().map(|node| node["id"].as_i64().context("a node has no id")).collect()
    }

    /// The process ids of the postmasters.
    pub fn postmasters(&self) -> anyhow::Result<Vec<u32>> {
        (1..=self.count)
            .map(|number| {
                let path = self.data_dir(number).join("postmaster.pid");
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("could not read {}", path.display()))?;
                let line = text.lines().next().unwrap_or_default();
                line.parse().with_context(|| format!("no process id in {}", path.display()))
            })
            .collect()
    }

    /// Has server `number` listen on `address` from now on.
    pub fn move_to_address(&self, number: u16, address: &str) -> anyhow::Result<()> {
        self.client(number)?.run(&format!("ALTER SYSTEM SET listen_addresses = '{address}'"))?;
        let node = format!("--node={number}");
        self.dev("stop", std::slice::from_ref(&node))?;
        self.dev("start", &[node])?;
        Ok(())
    }

    fn data_dir(&self, number: u16) -> PathBuf {
        self.dir.join(format!("node{number}"))
    }

    /// Moves pg_wal to tmpfs and leaves a symbolic link, as initdb --waldir would.
    fn move_wal(&self) -> anyhow::Result<()> {
        self.dev("down", &[])?;
        fs::create_dir_all(&self.wal_dir)
            .with_context(|| format!("could not make {}", self.wal_dir.display()))?;
        for number in 1..=self.count {
            let here = self.data_dir(number).join("pg_wal");
            let there = self.wal_dir.join(number.to_string());
            let mut copy = Command::new("cp");
            copy.arg("-a").arg(&here).arg(&there);
            output(copy, "cp")?;
            fs::remove_dir_all(&here)
                .with_context(|| format!("could not remove {}", here.display()))?;
            symlink(&there, &here).with_context(|| format!("could not link {}", here.display()))?;
        }
        self.dev("up", &[]).map(drop)
    }

    fn dev(&self, command: &str, arguments: &[String]) -> anyhow::Result<Value> {
        let mut shardmanctl = self.tools.shardmanctl();
        shardmanctl.args(["dev", command, "--dir"]).arg(&self.dir).args(arguments);
        let text = output(shardmanctl, &format!("shardmanctl dev {command}"))?;
        serde_json::from_str(&text).context("shardmanctl printed no JSON")
    }

    fn destroy(&self) -> anyhow::Result<()> {
        self.dev("destroy", &[])?;
        if self.wal_dir.exists() {
            fs::remove_dir_all(&self.wal_dir)
                .with_context(|| format!("could not remove {}", self.wal_dir.display()))?;
        }
        Ok(())
    }
}

impl Drop for Servers<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.destroy() {
            eprintln!("could not clean up {}: {error:#}", self.dir.display());
        }
    }
}
