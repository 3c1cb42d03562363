//! PostgreSQL's own `pg_regress` on a suite of `regress/suites`.
//!
//! A suite is `schedule`, `sql/*.sql` (or `specs/*.spec`) and `expected/*.out`. Its files find the
//! nodes' ports in the environment (`N1`, `N2`, `N3`), in `PSQL` a psql for `\!`
//! and in `SHARDED` `on` for a cluster, `off` otherwise; one plain server plays
//! all nodes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::cluster::TestCluster;
use crate::dispatcher::Dispatcher;
use crate::{account, places};

const BOUND_SECONDS: u32 = 900;
const NODES: [(&str, u16); 3] = [("N1", 1), ("N2", 2), ("N3", 3)];

/// A directory of test files.
pub struct Suite {
    name: String,
    source: PathBuf,
    left_out: Vec<String>,
}

impl Suite {
    /// The suite `regress/suites/NAME`.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), source: places::suites().join(name), left_out: Vec::new() }
    }

    /// The same without the file `sql/NAME.sql`.
    pub fn without(mut self, name: &str) -> Self {
        self.left_out.push(format!("test: {name}"));
        self
    }

    /// Runs it on a cluster of at least three nodes.
    pub fn run_on_cluster(&self, cluster: &TestCluster) -> anyhow::Result<()> {
        let ports = NODES.map(|(name, node)| (name, cluster.port(node)));
        self.run(&ports, "on", false)
    }

    /// Runs it on one plain server. With `REGRESS_ACCEPT` in the environment
    /// its results become the expected ones: never those of a cluster.
    pub fn run_on_plain(&self, server: &TestCluster) -> anyhow::Result<()> {
        let ports = NODES.map(|(name, _)| (name, server.port(1)));
        self.run(&ports, "off", std::env::var_os("REGRESS_ACCEPT").is_some())
    }

    /// Runs it on three servers that know nothing of each other, with
    /// `REGRESS_ACCEPT` as above.
    pub fn run_on_strangers(&self, servers: &TestCluster) -> anyhow::Result<()> {
        let ports = NODES.map(|(name, node)| (name, servers.port(node)));
        self.run(&ports, "off", std::env::var_os("REGRESS_ACCEPT").is_some())
    }

    /// Runs its specs with PostgreSQL's isolation tester on a cluster of at least
    /// three nodes, the sessions of a spec on nodes 1, 2 and 3 in their order. With
    /// `REGRESS_ACCEPT` as above: look at what it accepts.
    pub fn run_isolation(&self, cluster: &TestCluster) -> anyhow::Result<()> {
        let nodes: Vec<u16> = NODES.iter().map(|(_, node)| cluster.port(*node)).collect();
        let watch = fs::read_to_string(self.source.join("blocked.sql"))
            .context("the suite does not say which session is blocked")?;
        let watch = nodes.iter().zip(NODES).fold(watch, |sql, (port, (name, _))| {
            sql.replace(&format!(":{name}"), &port.to_string())
        });
        cluster.session(1)?.run(&watch)?;
        let dispatcher = Dispatcher::start(nodes)?;
        let program = "pgxs/src/test/isolation/pg_isolation_regress";
        let mut command = self.command(program, dispatcher.port())?;
        // What waits longer hangs.
        command.env("PGISOLATIONTIMEOUT", "60");
        // The dispatcher reads the start-up message.
        command.env("PGSSLMODE", "disable").env("PGGSSENCMODE", "disable");
        self.finish(command, std::env::var_os("REGRESS_ACCEPT").is_some())
    }

    fn run(&self, ports: &[(&str, u16)], sharded: &str, accepts: bool) -> anyhow::Result<()> {
        let (_, port) = ports.first().context("no port")?;
        let mut command = self.command("pgxs/src/test/regress/pg_regress", *port)?;
        command.env("SHARDED", sharded).env("PSQL", second_psql()?);
        for (name, port) in ports {
            command.env(name, port.to_string());
        }
        self.finish(command, accepts)
    }

    /// A runner's command, in a copy of the suite.
    fn command(&self, program: &str, port: u16) -> anyhow::Result<Command> {
        let work = self.copy_for_server_account()?;
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", &BOUND_SECONDS.to_string()])
            .arg(places::pg_config("--pkglibdir")?.join(program))
            .args(["--use-existing", "--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--user", "postgres", "--dbname", "postgres"])
            .arg(argument("--bindir", &places::pg_config("--bindir")?))
            .arg(argument("--dlpath", &places::pg_config("--pkglibdir")?))
            .arg(argument("--inputdir", &work))
            .arg(argument("--outputdir", &work))
            .arg(argument("--schedule", &work.join("schedule")))
            .current_dir(&work);
        Ok(command)
    }

    fn finish(&self, mut command: Command, accepts: bool) -> anyhow::Result<()> {
        let work = command.get_current_dir().context("no directory")?.to_owned();
        account::switch(&mut command)?;
        let output = command.output().context("could not run pg_regress")?;
        println!("{}", String::from_utf8_lossy(&output.stdout));
        if accepts {
            self.accept(&work)?;
        } else if !output.status.success() {
            let diffs = fs::read_to_string(work.join("regression.diffs")).unwrap_or_default();
            bail!(
                "suite {} failed ({})\n{}{}\n{diffs}",
                self.name,
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr),
            );
        }
        fs::remove_dir_all(&work).with_context(|| format!("could not remove {}", work.display()))
    }

    /// A copy that the servers' account may read and write: the checkout may
    /// be in a place that it cannot enter.
    fn copy_for_server_account(&self) -> anyhow::Result<PathBuf> {
        let work = places::scratch(&self.name)?;
        let files = if self.source.join("specs").is_dir() { "specs" } else { "sql" };
        for part in [files, "expected"] {
            fs::create_dir_all(work.join(part))?;
            for entry in self.source.join(part).read_dir().context("the suite is incomplete")? {
                let entry = entry?;
                fs::copy(entry.path(), work.join(part).join(entry.file_name()))?;
            }
        }
        let schedule = fs::read_to_string(self.source.join("schedule"))
            .context("the suite has no schedule")?;
        let kept = schedule.lines().filter(|line| !self.left_out.iter().any(|out| out == line));
        let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
        fs::write(work.join("schedule"), kept)?;
        // A file without an expected result fails with a diff of all of it.
        for entry in work.join(files).read_dir()? {
            let file = entry?.path();
            let stem = file.file_stem().context("a file without a name")?;
            let expected = work.join("expected").join(stem).with_extension("out");
            if !expected.exists() {
                fs::write(expected, "")?;
            }
        }
        account::own(&work)?;
        Ok(work)
    }

    fn accept(&self, work: &Path) -> anyhow::Result<()> {
        for entry in work.join("results").read_dir().context("there are no results")? {
            let entry = entry?;
            fs::copy(entry.path(), self.source.join("expected").join(entry.file_name()))?;
        }
        Ok(())
    }
}

/// A command for `\!`: another session, whose port follows as `-p`.
fn second_psql() -> anyhow::Result<String> {
    let psql = places::pg_config("--bindir")?.join("psql");
    Ok(format!("{} -X -q -h 127.0.0.1 -U postgres -d postgres", psql.display()))
}

fn argument(name: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(name);
    argument.push("=");
    argument.push(path);
    argument
}
