//! What a workload is.

use crate::system::Kind;

/// A ratio of ours to another system's that an issue asks for.
#[derive(Clone, Copy)]
pub enum Target {
    /// Of throughput.
    AtLeast(f64),
    /// Of time.
    AtMost(f64),
}

impl Target {
    /// Whether `ratio` meets it.
    pub fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bound) => ratio >= bound,
            Self::AtMost(bound) => ratio <= bound,
        }
    }

    /// As it stands in the report.
    pub fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {bound}"),
            Self::AtMost(bound) => format!("≤ {bound}"),
        }
    }
}

/// How a workload is run.
pub enum Work {
    /// pgbench -M prepared with this script and so many clients; measured in
    /// transactions a second.
    Pgbench {
        /// The text of the script.
        script: String,
        /// Clients.
        clients: u32,
    },
    /// Updates of one row of a table that is the same on all servers, by
    /// clients of the first server or of all; measured in transactions a
    /// second. Ours has a replicated table. Of the others each client keeps
    /// the copies equal itself: see [`crate::copies`].
    Replicated {
        /// Clients.
        clients: u32,
        /// Whether they are spread over the servers.
        is_spread: bool,
    },
    /// One statement in one session; measured in milliseconds.
    Query {
        /// The statement.
        sql: String,
        /// What puts the tables back after each run, unmeasured.
        cleanup: Option<&'static str>,
    },
    /// COPY FROM STDIN of the events file; measured in milliseconds.
    Copy,
}

/// What the servers must hold for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// All tables.
    Whole,
    /// Those that are the same on all servers, and what goes into them: made in a
    /// second.
    Copies,
}

/// One line of the report.
pub struct Workload {
    /// For --only and the report.
    pub name: String,
    /// What it does, for the report.
    pub description: &'static str,
    /// What issues 3, 4 and 6 ask for, if anything.
    pub targets: Vec<(Kind, Target)>,
    /// What it needs.
    pub data: Data,
    /// How it is run.
    pub work: Work,
}

impl Workload {
    /// What is asked for beside `other`.
    pub fn target(&self, other: Kind) -> Option<Target> {
        self.targets.iter().find(|(kind, _)| *kind == other).map(|(_, target)| *target)
    }
}
