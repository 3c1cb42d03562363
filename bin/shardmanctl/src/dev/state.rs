//! What is remembered about a development cluster, in `DIR/dev.json`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::exit::Refused;

/// The file that says a directory is ours: without it nothing is deleted.
pub const MARKER: &str = ".shardmanctl-dev";
const FILE: &str = "dev.json";
const FORMAT: u32 = 1;

/// A development cluster as its directory remembers it.
#[derive(Serialize, Deserialize)]
pub struct State {
    format: u32,
    /// Node K listens on this port plus K minus 1.
    pub base_port: u16,
    /// Servers without the extension.
    pub is_plain: bool,
    /// Whether servers wait for the disk.
    pub is_durable: bool,
    /// PostgreSQL's programs; data directories belong to one major version.
    pub pg_bindir: PathBuf,
    /// Where nodes reach each other, if not where they listen.
    #[serde(default)]
    pub peer_host: Option<String>,
    /// Settings the user added, in order.
    pub config: Vec<(String, String)>,
    pub nodes: Vec<Node>,
}

/// One server of it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Node {
    /// 1, 2, …: the number that `--node` takes.
    pub number: u16,
    pub port: u16,
    /// initdb and configuration are complete.
    pub is_initialized: bool,
    /// Its id in the cluster, once it has joined.
    pub member_id: Option<i32>,
}

impl State {
    /// A new cluster of `count` nodes, none initialized yet.
    pub fn new(count: u16, base_port: u16, pg_bindir: PathBuf) -> anyhow::Result<Self> {
        let mut state = Self {
            format: FORMAT,
            base_port,
            is_plain: false,
            is_durable: true,
            pg_bindir,
            peer_host: None,
            config: Vec::new(),
            nodes: Vec::new(),
        };
        for _ in 0..count {
            state.add_node()?;
        }
        Ok(state)
    }

    /// How the other nodes reach one: no user, the node role logs in.
    pub fn address(&self, node: &Node) -> String {
        let host = self.peer_host.as_deref().unwrap_or("127.0.0.1");
        format!("host={host} port={} dbname=postgres", node.port)
    }

    /// Appends one more node, not initialized yet; returns its index.
    pub fn add_node(&mut self) -> anyhow::Result<usize> {
        let number = self.nodes.iter().map(|node| node.number).max().unwrap_or(0) + 1;
        let Some(port) = self.base_port.checked_add(number - 1) else {
            bail!(Refused(format!("node {number} would need a port above 65535")));
        };
        self.nodes.push(Node { number, port, is_initialized: false, member_id: None });
        Ok(self.nodes.len() - 1)
    }

    /// Reads the state in `dir`; refuses a directory that is not ours.
    pub fn load(dir: &Path) -> anyhow::Result<Self> {
        if !dir.join(MARKER).is_file() {
            bail!(Refused(format!(
                "{} is not a development cluster made by shardmanctl dev up",
                dir.display()
            )));
        }
        let path = dir.join(FILE);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("could not read {}", path.display()))?;
        let state: Self = serde_json::from_str(&text)
            .with_context(|| format!("could not understand {}", path.display()))?;
        if state.format != FORMAT {
            bail!(Refused(format!(
                "{} was made by another version of shardmanctl (format {}, this one knows {FORMAT})",
                dir.display(),
                state.format
            )));
        }
        Ok(state)
    }

    /// Writes the state; a crash leaves the old file or the new one.
    pub fn save(&self, dir: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self).context("could not write JSON")?;
        let draft = dir.join("dev.json.new");
        let path = dir.join(FILE);
        fs::write(&draft, text + "\n")
            .and_then(|()| fs::rename(&draft, &path))
            .with_context(|| format!("could not write {}", path.display()))
    }
}

impl Node {
    /// What a client passes to psql.
    pub fn connstr(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_follow_numbers() {
        let mut state = State::new(2, 7600, PathBuf::new()).unwrap();
        let added = state.add_node().unwrap();
        assert_eq!(state.nodes[added].number, 3);
        assert_eq!(state.nodes[added].port, 7602);
        assert!(State::new(2, 65535, PathBuf::new()).is_err());
    }

    #[test]
    fn state_survives_a_round_trip_and_needs_the_marker() {
        let dir = tempfile::tempdir().unwrap();
        State::new(3, 7600, PathBuf::from("/bin")).unwrap().save(dir.path()).unwrap();
        assert!(State::load(dir.path()).is_err());
        fs::write(dir.path().join(MARKER), "").unwrap();
        assert_eq!(State::load(dir.path()).unwrap().nodes.len(), 3);
    }
}
