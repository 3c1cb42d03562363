//! One of the three things that are compared.

use anyhow::Context;

use crate::client::Client;
use crate::cpu;
use crate::servers::Servers;

/// Which of the three.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Three servers with shardman.
    Ours,
    /// Three servers with postgres_fdw.
    Stock,
    /// One server, tables without partitions.
    Plain,
}

impl Kind {
    /// All of them, in the order of runs and of columns.
    pub const ALL: [Self; 3] = [Self::Ours, Self::Stock, Self::Plain];

    /// A word for directories and columns.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Stock => "stock",
            Self::Plain => "plain",
        }
    }
}

/// A running system.
pub struct System<'a> {
    /// Which of the three.
    pub kind: Kind,
    /// Its servers; clients talk to the first.
    pub servers: Servers<'a>,
}

impl System<'_> {
    /// A session on the first server.
    pub fn client(&self) -> anyhow::Result<Client> {
        self.servers.client(1)
    }

    /// CPU seconds, user and system, that all processes of the servers have
    /// used since they were started.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu::seconds_of(&self.servers.postmasters()?)
    }

    /// Syncs of the WAL on all servers. Sessions report theirs when they end.
    pub fn wal_syncs(&self) -> anyhow::Result<i64> {
        let mut sum = 0;
        for number in 1..=self.servers.count() {
            sum += self
                .servers
                .client(number)?
                .integer("SELECT wal_sync FROM pg_stat_wal")
                .context("could not read pg_stat_wal")?;
        }
        Ok(sum)
    }
}
