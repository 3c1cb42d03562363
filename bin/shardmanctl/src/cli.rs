//! The arguments. Help texts here are the manual; behaviour is elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::exit::{self, BadUsage};

/// Operate a shardman cluster: several PostgreSQL servers as one database.
#[derive(Parser)]
#[command(name = "shardmanctl", version, after_help = exit::HELP, after_long_help = exit::HELP)]
pub struct Arguments {
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// A cluster for development: all nodes on this machine, no passwords
    #[command(subcommand)]
    Dev(DevCommand),
    /// The cluster as one node sees it: nodes, leader, partitions per node
    Status(Target),
    /// The nodes and whether they answer; or take the partitions off one
    Nodes(NodesArguments),
    /// Move partitions until all nodes hold alike
    Rebalance(RebalanceArguments),
    /// The sharded tables and where their partitions are
    Tables(Target),
    /// The database as SQL: for a new cluster, or for one plain PostgreSQL
    Dump(DumpArguments),
}

/// `nodes drain`.
#[derive(Args)]
pub struct DrainArguments {
    /// The node's id, as `nodes` shows it
    #[arg(long, value_name = "ID")]
    pub id: i32,
    /// Wait until it is done and show how far the moves are
    #[arg(long)]
    pub watch: bool,
    #[command(flatten)]
    pub target: Target,
}

/// `rebalance`.
#[derive(Args)]
pub struct RebalanceArguments {
    /// Only this table and those colocated with it
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// Nodes are to hold as many bytes, not as many partitions
    #[arg(long)]
    pub by_size: bool,
    /// Only show what would move, and why
    #[arg(long, conflicts_with = "watch")]
    pub dry_run: bool,
    /// Wait until it is done and show how far the moves are
    #[arg(long)]
    pub watch: bool,
    #[command(flatten)]
    pub target: Target,
}

/// The node to ask.
#[derive(Args)]
pub struct Target {
    /// Connection string of any one node, for example
    /// "host=127.0.0.1 port=15501 user=postgres dbname=postgres"
    #[arg(value_name = "CONNSTR", conflicts_with = "connstr")]
    positional: Option<String>,
    /// The same as an option; without either, what SHARDMAN_CONNSTR says
    // Not by clap's `env`: the variable would count as the option, and conflict
    // with the argument.
    #[arg(long, value_name = "CONNSTR")]
    connstr: Option<String>,
    /// Seconds to wait for an answer of each node
    #[arg(long, default_value = "5", value_name = "SECONDS", value_parser = seconds)]
    pub connect_timeout: Duration,
}

impl Target {
    /// The connection string: what was written counts more than the environment.
    pub fn connstr(&self) -> anyhow::Result<String> {
        self.connstr_beside(std::env::var("SHARDMAN_CONNSTR").ok())
    }

    fn connstr_beside(&self, environment: Option<String>) -> anyhow::Result<String> {
        let written = self.positional.as_ref().or(self.connstr.as_ref()).cloned();
        Ok(written.or(environment).ok_or_else(|| {
            BadUsage(
                "name a node: a connection string, or SHARDMAN_CONNSTR in the environment".into(),
            )
        })?)
    }
}

/// `dump`. Restore it with psql. What is local to other nodes is not in it, and
/// replicated tables are ordinary ones in it.
#[derive(Args)]
pub struct DumpArguments {
    #[command(flatten)]
    pub target: Target,
    /// For one server without the extension; by default for a new cluster
    #[arg(long)]
    pub plain: bool,
    /// Where to write it [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Where pg_dump and psql are [default: what pg_config says]
    #[arg(long, env = "SHARDMAN_PG_BINDIR", value_name = "DIR")]
    pub pg_bindir: Option<PathBuf>,
}

/// `nodes`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct NodesArguments {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub command: Option<NodesCommand>,
}

/// What to do about nodes.
#[derive(Subcommand)]
pub enum NodesCommand {
    /// Move all partitions of a node to the others
    Drain(DrainArguments),
    /// Take a node out of the cluster and wait until it is gone
    Rm(RmArguments),
}

/// `nodes rm`.
#[derive(Args)]
pub struct RmArguments {
    #[command(flatten)]
    pub target: Target,
    /// The node's id, as `nodes` shows it
    #[arg(long, value_name = "ID")]
    pub id: i32,
    /// Even if it holds partitions, which are lost
    #[arg(long)]
    pub force: bool,
}

/// A cluster on this machine. Each node listens on 127.0.0.1 only, with
/// superuser and database `postgres` and no password: for development.
#[derive(Subcommand)]
pub enum DevCommand {
    /// Make a cluster, or start a stopped one; returns when every node is active
    Up(UpArguments),
    /// Start one more node and join it to the cluster
    Add(AddArguments),
    /// Show the servers of the directory: ports, states, connection strings
    Status(DirArguments),
    /// Stop all servers; `dev up` starts them again
    Down(DownArguments),
    /// Stop all servers and delete the directory (only one made by `dev up`)
    Destroy(DirArguments),
    /// Stop one server in an orderly way
    Stop(StopArguments),
    /// Start one server
    Start(StartArguments),
    /// SIGKILL one server: the postmaster and all its children at once
    Kill(NodeArguments),
    /// SIGSTOP one server: it holds its connections and answers nothing
    Pause(NodeArguments),
    /// SIGCONT one paused server
    Resume(NodeArguments),
}

/// Where a development cluster lives.
#[derive(Args)]
pub struct DirArguments {
    /// The directory of the cluster
    #[arg(long, env = "SHARDMAN_DEV_DIR", value_name = "DIR")]
    pub dir: PathBuf,
}

/// How long to wait.
#[derive(Args)]
pub struct WaitArguments {
    /// Seconds to wait before giving up with an error
    #[arg(long, default_value = "120", value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Duration,
}

/// `dev up`.
#[derive(Args)]
pub struct UpArguments {
    #[command(flatten)]
    pub dir: DirArguments,
    /// Number of nodes of a new cluster [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub nodes: Option<u16>,
    /// Node K listens on 127.0.0.1 port P+K-1 [default: 15501]
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1024..))]
    pub base_port: Option<u16>,
    /// Another setting for postgresql.conf of every node; may be repeated
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    pub config: Vec<(String, String)>,
    /// Do not wait for the disk: fast, and only for tests
    #[arg(long)]
    pub no_fsync: bool,
    /// Nodes reach each other at this address, not at 127.0.0.1: for a proxy
    /// that listens there on the nodes' ports
    #[arg(long, value_name = "ADDRESS", conflicts_with = "plain")]
    pub peer_host: Option<String>,
    /// Servers without the extension, each for itself: to compare with
    #[arg(long)]
    pub plain: bool,
    /// Where initdb, pg_ctl and postgres are [default: what pg_config says]
    #[arg(long, env = "SHARDMAN_PG_BINDIR", value_name = "DIR")]
    pub pg_bindir: Option<PathBuf>,
    #[command(flatten)]
    pub wait: WaitArguments,
}

/// `dev add`.
#[derive(Args)]
pub struct AddArguments {
    #[command(flatten)]
    pub dir: DirArguments,
    #[command(flatten)]
    pub wait: WaitArguments,
}

/// `dev down`.
#[derive(Args)]
pub struct DownArguments {
    #[command(flatten)]
    pub dir: DirArguments,
    /// How PostgreSQL shuts down
    #[arg(long, value_enum, default_value = "fast")]
    pub mode: StopMode,
    #[command(flatten)]
    pub wait: WaitArguments,
}

/// One node of a development cluster.
#[derive(Args)]
pub struct NodeArguments {
    #[command(flatten)]
    pub dir: DirArguments,
    /// The node: 1 is the first
    #[arg(long, value_name = "K")]
    pub node: u16,
}

/// `dev stop`.
#[derive(Args)]
pub struct StopArguments {
    #[command(flatten)]
    pub node: NodeArguments,
    /// How PostgreSQL shuts down
    #[arg(long, value_enum, default_value = "fast")]
    pub mode: StopMode,
    #[command(flatten)]
    pub wait: WaitArguments,
}

/// `dev start`.
#[derive(Args)]
pub struct StartArguments {
    #[command(flatten)]
    pub node: NodeArguments,
    #[command(flatten)]
    pub wait: WaitArguments,
}

/// PostgreSQL's shutdown modes.
#[derive(Clone, Copy, ValueEnum)]
pub enum StopMode {
    /// Wait for clients to leave
    Smart,
    /// Disconnect clients, then a checkpoint
    Fast,
    /// No checkpoint: recovery at the next start
    Immediate,
}

impl StopMode {
    /// The word that `pg_ctl --mode` knows.
    pub fn word(self) -> &'static str {
        match self {
            Self::Smart => "smart",
            Self::Fast => "fast",
            Self::Immediate => "immediate",
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(0) | Err(_) => Err("a whole number of seconds, at least 1, is expected".to_owned()),
        Ok(seconds) => Ok(Duration::from_secs(u64::from(seconds))),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is expected")?;
    let key = key.trim();
    let is_name = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    if key.is_empty() || !is_name {
        return Err(format!("\"{key}\" is no name of a setting"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_node_that_is_named_counts_more_than_the_environment() {
        for (written, expected) in [
            (&["here"][..], "here"),
            (&["--connstr", "there"][..], "there"),
            (&[][..], "elsewhere"),
        ] {
            let arguments = [&["shardmanctl", "status"], written].concat();
            let parsed = Arguments::try_parse_from(arguments).unwrap();
            let Command::Status(target) = parsed.command else { panic!("another command") };
            let connstr = target.connstr_beside(Some("elsewhere".to_owned()));
            assert_eq!(connstr.unwrap(), expected);
            assert!(written.is_empty() == target.connstr_beside(None).is_err());
        }
        assert!(
            Arguments::try_parse_from(["shardmanctl", "status", "a", "--connstr", "b"]).is_err()
        );
    }

    #[test]
    fn setting_is_split_at_the_first_equals_sign() {
        let split = key_value("search_path=a=b").unwrap();
        assert_eq!(split, ("search_path".to_owned(), "a=b".to_owned()));
        assert!(key_value("no sign").is_err());
        assert!(key_value("bad name=1").is_err());
    }
}
