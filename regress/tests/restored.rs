//! A server whose data directory was put back from an old copy, and what becomes
//! of its partitions when it is removed.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use regress::{TestCluster, eventually, schemas_are_equal};

const BOUND: Duration = Duration::from_secs(60);

/// With owners and modes.
fn copy(from: &PathBuf, to: &PathBuf) -> anyhow::Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "could not copy {}", from.display());
    Ok(())
}

#[test]
fn a_restored_server_is_refused_and_what_it_held_can_be_made_anew() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let one = cluster.session(1)?;
    one.run(
        "CREATE TABLE t (id integer PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 3);
         CREATE TABLE lines (id integer REFERENCES t, line integer, PRIMARY KEY (id, line))
             WITH (distributed_by = 'id', colocate_with = 't');
         CREATE TABLE gone (id integer) WITH (distributed_by = 'id', num_parts = 3);
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
    eventually("health() tells of it", BOUND, || {
        let row = one.value(&format!(
            "SELECT count(*) FROM shardman.health() WHERE NOT ok AND detail LIKE '%node {id}%old copy%'"
        ))?;
        Ok((row != "0").then_some(()))
    })?;
    drop(three);

    // Declared lost, its partitions are missed by name.
    let job = one.integer(&format!("SELECT shardman.rm_node({id}, force => true)"))?;
    let status = one.value(&format!("SELECT shardman.wait_cmd({job})"))?;
    ensure!(["done", "success"].contains(&status.as_str()), "{status}");
    for node in [1, 2] {
        let error = cluster.session(node)?.failure("SELECT count(*) FROM t")?;
        ensure!(error.code().code() == "55000", "{error:?}");
        ensure!(error.message().contains("are lost"), "{error:?}");
        ensure!(error.hint().is_some_and(|hint| hint.contains("recreate_lost_partitions")));
    }
    ensure!(one.integer("SELECT count(*) FROM shardman.lost_parts")? == 3);
    ensure!(
        one.integer(
            "SELECT count(*) FROM shardman.health() WHERE NOT ok AND detail LIKE '%are lost%'"
        )? == 1
    );
    eventually("nothing is kept for it", BOUND, || {
        Ok((one.integer("SELECT (shardman.schema_log()->>'kept')::bigint")? == 0).then_some(()))
    })?;
    one.run("DROP TABLE gone")?;

    // Made anew they work like others, with all that hangs on them.
    let two = cluster.session(2)?;
    ensure!(two.integer("SELECT shardman.recreate_lost_partitions('t')")? == 1);
    ensure!(two.integer("SELECT shardman.recreate_lost_partitions('t')")? == 0);
    ensure!(two.integer("SELECT count(*) FROM t")? < 120);
    one.run("INSERT INTO t SELECT generate_series(1, 120) ON CONFLICT DO NOTHING")?;
    two.run(
        "INSERT INTO lines SELECT i, 1 FROM generate_series(1, 120) AS i ON CONFLICT DO NOTHING",
    )?;
    ensure!(two.integer("SELECT count(*) FROM t JOIN lines USING (id)")? == 120);
    for session in [&one, &two] {
        ensure!(session.failure("INSERT INTO lines VALUES (500, 1)")?.code().code() == "23503");
        let twice = "INSERT INTO t SELECT generate_series(1, 120)";
        ensure!(session.failure(twice)?.code().code() == "23505");
    }
    ensure!(one.integer("SELECT count(*) FROM shardman.lost_parts")? == 0);
    schemas_are_equal(&[one, two])
}
