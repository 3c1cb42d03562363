//! A server whose data directory was put back from an old copy.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use regress::{TestCluster, eventually};

const BOUND: Duration = Duration::from_secs(60);

/// With owners and modes.
fn copy(from: &PathBuf, to: &PathBuf) -> anyhow::Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "could not copy {}", from.display());
    Ok(())
}

#[test]
fn a_restored_server_is_refused_and_told_how_to_rejoin() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let one = cluster.session(1)?;
    one.run(
        "CREATE TABLE t (id integer PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 3);
         INSERT INTO t SELECT generate_series(1, 60)",
    )?;
    let id = cluster.member_id(3)?;
    let directory = PathBuf::from(cluster.session(3)?.value("SHOW data_directory")?);
    let name = directory.file_name().context("a directory has a name")?.to_string_lossy();
    let copied = directory.with_file_name(format!("{name}-copy"));

    cluster.on_node("stop", 3)?;
    copy(&directory, &copied)?;
    cluster.on_node("start", 3)?;
    // It goes on: what it did since is what the copy does not know.
    let three = eventually("it is back", BOUND, || {
        let three = cluster.session(3)?;
        three.run("INSERT INTO t SELECT generate_series(61, 120)")?;
        Ok(Some(three))
    })?;
    drop(three);
    cluster.on_node("stop", 3)?;
    std::fs::remove_dir_all(&directory)?;
    std::fs::rename(&copied, &directory)?;
    cluster.on_node("start", 3)?;

    let three = eventually("its server is back", BOUND, || cluster.session(3).map(Some))?;
    eventually("it knows that it is an old copy", BOUND, || {
        let status = three.value("SELECT shardman.raft_status_json()")?;
        Ok((status.contains("barred") && status.contains("old copy")).then_some(()))
    })?;
    for sql in
        ["SELECT count(*) FROM t", "COPY t FROM STDIN", "TRUNCATE t", "CREATE INDEX ON t (id)"]
    {
        let error = three.failure(sql)?;
        ensure!(error.code().code() == "55000", "{sql}: {error:?}");
        let told = format!("{} {}", error.message(), error.detail().unwrap_or_default());
        ensure!(told.contains("old copy"), "{error:?}");
        ensure!(error.hint().is_some_and(|hint| hint.contains("rm_node")), "{error:?}");
    }
    // Nor does it serve others, who go on without it.
    let error = one.failure("SELECT count(*) FROM t")?;
    ensure!(error.message().contains("does not serve"), "{error:?}");
    one.run("CREATE TABLE u (id integer PRIMARY KEY, v integer) WITH (distributed_by = 'id', num_parts = 1)")?;
    eventually("health() tells of it", BOUND, || {
        let row = one.value(&format!(
            "SELECT count(*) FROM shardman.health() WHERE NOT ok AND detail LIKE '%node {id}%old copy%'"
        ))?;
        Ok((row != "0").then_some(()))
    })?;
    Ok(())
}
