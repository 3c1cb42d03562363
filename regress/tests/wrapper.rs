//! The suite `wrapper`: the wrapper alone, as a drop-in for postgres_fdw between
//! servers of which only the first has the extension.

use std::fs;
use std::path::PathBuf;

use regress::{Shape, Suite, TestCluster};

/// Passwords are asked for where everybody else of `dev up` is trusted.
const PASSWORDS: &str = "\
host all scramuser 127.0.0.1/32 scram-sha-256
host all md5user 127.0.0.1/32 md5
";

fn strangers() -> anyhow::Result<TestCluster> {
    let servers = TestCluster::start(&Shape { nodes: 3, is_plain: true, config: &[] })?;
    servers.session(1)?.run("ALTER SYSTEM SET shared_preload_libraries = 'shardman'")?;
    servers.on_node("stop", 1)?;
    servers.on_node("start", 1)?;
    let second = servers.session(2)?;
    let hba = PathBuf::from(second.value("SHOW hba_file")?);
    let rules = fs::read_to_string(&hba)?;
    fs::write(&hba, format!("{PASSWORDS}{rules}"))?;
    second.run("SELECT pg_reload_conf()")?;
    Ok(servers)
}

/// Also how the expected files are made: `REGRESS_ACCEPT=1`, then look at the diff.
#[test]
fn wrapper_suite() -> anyhow::Result<()> {
    Suite::named("wrapper").run_on_strangers(&strangers()?)
}
