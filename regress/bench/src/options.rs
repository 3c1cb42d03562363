//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::run::Length;

/// Measures shardman against stock postgres_fdw and plain PostgreSQL.
///
/// Starts three systems side by side on this machine, loads the same data into
/// each, runs the workloads interleaved and writes a report in Markdown.
/// Nothing is asserted. Needs shardmanctl (SHARDMANCTL, beside this program, or
/// on PATH) and PostgreSQL with the extension installed (SHARDMAN_PG_BINDIR, or
/// what pg_config says).
#[derive(Parser)]
#[command(name = "bench")]
pub struct Options {
    /// A tenth of the data, shorter runs, two repetitions
    #[arg(long)]
    pub quick: bool,
    /// Only these workloads; see --list
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// How often each workload runs on each system [default: 3, with --quick 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub repetitions: Option<u32>,
    /// Seconds of one pgbench run [default: 3, with --quick 1]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: Option<u32>,
    /// Instead of that, transactions of one pgbench run, all clients together: for a busy machine
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub transactions: Option<u32>,
    /// Where the report goes [default: docs/performance.md, with --quick or --only nowhere]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Where to make a directory for the servers' data [default: the temporary directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where to make a directory for the servers' WAL; should be on tmpfs
    #[arg(long, value_name = "DIR", default_value = "/dev/shm")]
    pub wal_dir: PathBuf,
    /// The first of seven consecutive ports
    #[arg(long, value_name = "PORT", default_value_t = 7700)]
    pub base_port: u16,
    /// Print the names of the workloads and end
    #[arg(long)]
    pub list: bool,
}

impl Options {
    /// Rows of the accounts and kv tables, before rounding to whole partitions.
    pub fn accounts(&self) -> i64 {
        self.scaled(1_000_000)
    }

    /// Rows of the events table and of the COPY.
    pub fn events(&self) -> i64 {
        self.scaled(2_000_000)
    }

    /// Repetitions of each workload.
    pub fn repetitions(&self) -> u32 {
        self.repetitions.unwrap_or(if self.quick { 2 } else { 3 })
    }

    /// Of one pgbench run.
    pub fn length(&self) -> Length {
        let seconds = self.seconds.unwrap_or(if self.quick { 1 } else { 3 });
        Length { seconds, transactions: self.transactions }
    }

    /// Whether the command line asks for the workload `name`.
    pub fn is_wanted(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// Where the report goes besides standard output.
    pub fn output(&self) -> Option<PathBuf> {
        let is_whole = !self.quick && self.only.is_empty();
        self.output.clone().or_else(|| is_whole.then(|| PathBuf::from("docs/performance.md")))
    }

    fn scaled(&self, rows: i64) -> i64 {
        if self.quick { rows / 10 } else { rows }
    }
}
