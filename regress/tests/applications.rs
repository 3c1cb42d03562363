//! Applications on the drivers and ORMs that people use (`regress/apps`), the same
//! on one PostgreSQL and on a cluster, where each connection leads to another node.
//! They look at their results themselves.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context, ensure};
use regress::{Balancer, TestCluster};

/// For one application; its statements have closer bounds.
const BOUND_SECONDS: &str = "240";
/// For what is installed, from the registries.
const SETUP_BOUND_SECONDS: &str = "600";

/// Their folders.
const APPLICATIONS: [&str; 4] = ["psycopg", "sqlalchemy", "django", "node"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("apps")
}

fn said(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr];
    streams.map(|stream| String::from_utf8_lossy(stream).into_owned()).concat()
}

/// What runs them.
struct Tools {
    python: String,
    node_path: String,
}

impl Tools {
    fn install() -> anyhow::Result<Self> {
        let output = Command::new("timeout")
            .args(["--kill-after=5", SETUP_BOUND_SECONDS])
            .arg(folder().join("setup"))
            .output()?;
        ensure!(output.status.success(), "regress/apps/setup: {}", said(&output));
        let printed = String::from_utf8(output.stdout)?;
        let value = |name: &str| {
            let line = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(str::to_owned).with_context(|| format!("no {name} in: {printed}"))
        };
        Ok(Self { python: value("PYTHON")?, node_path: value("NODE_PATH")? })
    }

    /// Runs an application to its end.
    fn run(&self, application: &str, port: u16) -> anyhow::Result<()> {
        let (program, file) = match application {
            "node" => ("node", "app.js"),
            _ => (self.python.as_str(), "app.py"),
        };
        let start = Instant::now();
        let output = Command::new("timeout")
            .args(["--kill-after=5", BOUND_SECONDS, program, file])
            .current_dir(folder().join(application))
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", port.to_string())
            .env("PGUSER", "app")
            .env("PGDATABASE", "postgres")
            .env("NODE_PATH", &self.node_path)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("PGOPTIONS")
            .output()?;
        ensure!(
            output.status.success() && said(&output).contains("all done"),
            "{application} ended with {}:\n{}",
            output.status,
            said(&output)
        );
        println!("{application}: {:.1} s", start.elapsed().as_secs_f32());
        Ok(())
    }
}

#[test]
fn applications_run_unchanged() -> anyhow::Result<()> {
    let tools = Tools::install()?;
    let may_create = "GRANT CREATE ON SCHEMA public TO app";
    {
        let plain = TestCluster::plain()?;
        plain.session(1)?.run(&format!("CREATE ROLE app LOGIN; {may_create}"))?;
        for application in APPLICATIONS {
            tools.run(application, plain.port(1)).context("on one PostgreSQL")?;
        }
    }
    let cluster = TestCluster::up(3)?;
    cluster.session(1)?.run(&format!(
        "CREATE ROLE app LOGIN IN ROLE global; SET shardman.broadcast_ddl = on; {may_create}"
    ))?;
    let balancer = Balancer::start((1..=3).map(|node| cluster.port(node)).collect())?;
    for application in APPLICATIONS {
        tools.run(application, balancer.port()).context("on a cluster")?;
    }
    let nodes = (1..=3).map(|node| cluster.session(node)).collect::<Result<Vec<_>, _>>()?;
    regress::schemas_are_equal(&nodes)
}
