//! Jobs: they end on all nodes or on none, whoever is killed or changes his mind.

use std::time::Duration;

use regress::{Session, TestCluster, eventually};

const BOUND: Duration = Duration::from_secs(60);

/// Three nodes with a table `t` of 6 partitions, of role `owner`.
struct Stage {
    cluster: TestCluster,
    nodes: Vec<Session>,
}

impl Stage {
    fn set() -> anyhow::Result<Self> {
        let cluster = TestCluster::up(3)?;
        let nodes = (1..=3).map(|node| cluster.session(node)).collect::<Result<Vec<_>, _>>()?;
        nodes[0].run(
            "SET shardman.broadcast_ddl = on;
             CREATE ROLE owner; CREATE ROLE other; GRANT CREATE ON SCHEMA public TO owner;
             RESET shardman.broadcast_ddl",
        )?;
        nodes[0].run(
            "SET ROLE owner;
             CREATE TABLE t (id integer, b integer, s text) WITH (distributed_by = 'id', num_parts = 6);
             INSERT INTO t SELECT i, i / 2, 's' || i FROM generate_series(1, 300) AS i;
             RESET ROLE",
        )?;
        Ok(Stage { cluster, nodes })
    }

    /// The last job's row, which must be the same on all nodes.
    fn last(&self) -> anyhow::Result<String> {
        let row = "SELECT id || ' ' || cmd_type || ' ' || status || ' ' || message
                   FROM shardman.cmd_log ORDER BY id DESC LIMIT 1";
        eventually("all nodes show the same", BOUND, || {
            let shown =
                self.nodes.iter().map(|node| node.value(row)).collect::<Result<Vec<_>, _>>()?;
            Ok(shown.iter().all(|it| *it == shown[0]).then(|| shown[0].clone()))
        })
    }

    /// Every node has the same schema, `count` indexes of leaves, and none of
    /// them half-made.
    fn is_clean(&self, count: i64) -> anyhow::Result<()> {
        let mut leaves = 0;
        let mut digests = Vec::new();
        for node in &self.nodes {
            let invalid = node.value(
                "SELECT count(*) FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
                 WHERE NOT indisvalid OR NOT indisready
                    OR (c.relnamespace = 'shardman_data'::regnamespace AND NOT c.relispartition)",
            )?;
            anyhow::ensure!(invalid == "0", "{invalid} half-made indexes");
            leaves += node.integer(
                "SELECT count(*) FROM pg_class
                 WHERE relkind = 'i' AND relnamespace = 'shardman_data'::regnamespace",
            )?;
            digests.push(node.value("SELECT shardman.schema_digest()")?);
        }
        anyhow::ensure!(leaves == count, "{leaves} indexes of leaves");
        anyhow::ensure!(digests.iter().all(|digest| *digest == digests[0]));
        Ok(())
    }

    /// A transaction on node `at` that an index build must wait for.
    fn obstacle(&self, at: u16) -> anyhow::Result<Session> {
        let session = self.cluster.session(at)?;
        session.run("BEGIN; UPDATE t SET s = s || '!'")?;
        Ok(session)
    }
}

fn wait(session: &Session, id: i64) -> anyhow::Result<String> {
    session.value(&format!("SELECT shardman.wait_cmd({id})"))
}

#[test]
fn an_index_is_built_concurrently_everywhere_or_nowhere() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    let [one, two, _] = &stage.nodes[..] else { anyhow::bail!("three sessions") };

    // From any node, as the owner.
    two.run("SET ROLE owner")?;
    two.run("CREATE INDEX CONCURRENTLY t_b ON t (b, lower(s)) WHERE b > 3")?;
    two.run("RESET ROLE")?;
    assert_eq!(stage.last()?, "1 create_index success ");
    stage.is_clean(6)?;
    let options = one
        .value("SELECT string_agg(opt, ' ' ORDER BY id) FROM shardman.cmd_opts WHERE cmd_id = 1")?;
    assert!(options.contains("t_b USING btree (b, lower(s)) WHERE (b > 3)"), "{options}");

    // Mistakes are found before there is a job.
    for (sql, code) in [
        ("CREATE INDEX CONCURRENTLY ON t (nothing)", "42703"),
        ("CREATE INDEX CONCURRENTLY t_b ON t (s)", "42P07"),
        ("CREATE UNIQUE INDEX CONCURRENTLY ON t (b)", "0A000"),
        ("SET ROLE other; CREATE INDEX CONCURRENTLY ON t (s)", "25001"),
        ("BEGIN; CREATE INDEX CONCURRENTLY ON t (s)", "25001"),
    ] {
        assert_eq!(two.failure(sql)?.code().code(), code, "{sql}");
        two.run("ROLLBACK; RESET ROLE")?;
    }
    two.run("SET ROLE other")?;
    assert_eq!(two.failure("CREATE INDEX CONCURRENTLY ON t (s)")?.code().code(), "42501");
    two.run("RESET ROLE")?;
    two.run("CREATE INDEX CONCURRENTLY IF NOT EXISTS t_b ON t (s)")?;
    assert_eq!(stage.last()?, "1 create_index success ");

    // Two rows in the way of a unique index.
    one.run("INSERT INTO t VALUES (7, 1, 's'), (7, 1, 's')")?;
    let failure = one.failure("CREATE UNIQUE INDEX CONCURRENTLY t_id ON t (id)")?;
    assert_eq!(failure.code().code(), "23505", "{failure}");
    assert!(stage.last()?.starts_with("2 create_index failed"));
    stage.is_clean(6)?;
    one.run("DELETE FROM t WHERE id = 7")?;
    one.run("SELECT shardman.resume_cmd(2)")?;
    assert_eq!(wait(two, 2)?, "success");
    stage.is_clean(12)?;
    assert_eq!(two.failure("SELECT shardman.resume_cmd(2)")?.code().code(), "55000");
    assert_eq!(two.failure("SELECT shardman.cancel_cmd(77)")?.code().code(), "42704");

    // The others of the family.
    let files = "SELECT string_agg(relfilenode::text, ' ' ORDER BY relname) FROM pg_class
                 WHERE relkind = 'i' AND relnamespace = 'shardman_data'::regnamespace";
    let before = stage.nodes[2].value(files)?;
    one.run("REINDEX INDEX CONCURRENTLY t_b")?;
    let after = stage.nodes[2].value(files)?;
    assert_ne!(before, after);
    two.run("REINDEX (CONCURRENTLY) TABLE t")?;
    assert_ne!(after, stage.nodes[2].value(files)?);
    stage.is_clean(12)?;
    two.run("DROP INDEX CONCURRENTLY t_b")?;
    stage.is_clean(6)?;
    one.run("CREATE INDEX t_b ON t (b)")?;

    // A statement that is canceled takes its job with it.
    let obstacle = stage.obstacle(3)?;
    one.run("SET statement_timeout = '3s'")?;
    let failure = one.failure("CREATE INDEX CONCURRENTLY t_s ON t (s)")?;
    assert_eq!(failure.code().code(), "57014");
    one.run("RESET statement_timeout")?;
    // Cleaning up must wait for it, too.
    obstacle.run("COMMIT")?;
    assert_eq!(wait(one, 6)?, "canceled");
    stage.is_clean(12)?;
    Ok(())
}

#[test]
fn a_job_goes_on_when_its_driver_or_a_worker_is_killed() -> anyhow::Result<()> {
    let mut stage = Stage::set()?;
    let obstacle = stage.obstacle(3)?;
    let sql = "CREATE INDEX CONCURRENTLY t_s ON t (s)";
    let driver = stage.cluster.session(1)?;
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let asking = scope.spawn(move || driver.run(sql));
        let building = "SELECT count(*) FROM shardman.cmd_log WHERE status = 'in progress'
                        AND driver = 1 AND progress @> '[{\"node\": 3, \"status\": \"in progress\"}]'";
        eventually("node 3 builds", BOUND, || {
            Ok((stage.nodes[1].integer(building)? == 1).then_some(()))
        })?;

        // Any worker, anywhere.
        for node in &stage.nodes {
            node.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'shardman job worker'")?;
        }
        let attempt = "SELECT attempt FROM shardman.cmd_log WHERE driver = 1";
        eventually("it is driven again", BOUND, || {
            Ok((stage.nodes[1].integer(attempt)? == 2).then_some(()))
        })?;
        eventually("node 3 builds again", BOUND, || {
            Ok((stage.nodes[1].integer(building)? == 1).then_some(()))
        })?;

        stage.cluster.on_node("kill", 1)?;
        let taken = "SELECT driver FROM shardman.cmd_log WHERE status = 'in progress'";
        eventually("another node takes it over", BOUND, || {
            Ok((stage.nodes[1].integer(taken)? != 1).then_some(()))
        })?;
        anyhow::ensure!(asking.join().expect("no panic").is_err(), "its server was killed");
        Ok(())
    })?;
    stage.cluster.on_node("start", 1)?;
    // Rolled back if node 1 had part in it; either way it is out of the way.
    drop(obstacle.run("COMMIT"));
    drop(obstacle);
    assert_eq!(wait(&stage.nodes[1], 1)?, "success");
    stage.nodes[0] = eventually("node 1 is back", BOUND, || Ok(Some(stage.cluster.session(1)?)))?;
    assert_eq!(stage.last()?, "1 create_index success ");
    stage.is_clean(6)?;

    let in_block = stage.nodes[1].failure("BEGIN; SELECT shardman.wait_cmd(1)")?;
    assert_eq!(in_block.code().code(), "25001");
    stage.nodes[1].run("ROLLBACK")?;

    // Who has no part in it has no say.
    stage.nodes[1].run("SET ROLE other")?;
    assert_eq!(stage.nodes[1].failure("SELECT shardman.cancel_cmd(1)")?.code().code(), "42501");
    Ok(())
}

#[test]
fn a_tablespace_is_made_on_every_node_or_on_none() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    let dir = stage.cluster.dir().join("spaces");
    let place = dir.display().to_string();
    let make = |node: &Session, name: &str| {
        node.run(&format!("COPY (SELECT) TO PROGRAM 'mkdir -p -m 700 {place}/{name}'"))
    };
    let spaces = || -> anyhow::Result<i64> {
        let count = "SELECT count(*) FROM pg_tablespace WHERE spcname LIKE 'ts%'";
        stage.nodes.iter().map(|node| node.integer(count)).sum()
    };
    let sql = format!(
        "CREATE TABLESPACE ts LOCATION '{place}/n{{rgid}}' WITH (global, seq_page_cost = 2)"
    );
    make(&stage.nodes[0], "n1")?;
    make(&stage.nodes[0], "n2")?;
    // The third has no directory.
    let failure = stage.nodes[0].failure(&sql)?;
    assert_eq!(failure.code().code(), "58P01", "{failure}");
    assert_eq!(spaces()?, 0);
    make(&stage.nodes[0], "n3")?;
    stage.nodes[1].run(&sql)?;
    assert_eq!(spaces()?, 3);
    assert_eq!(stage.nodes[2].failure(&sql)?.code().code(), "42710");
    assert_eq!(spaces()?, 3, "what another job has made stays");
    stage.nodes[0].run("DROP TABLESPACE ts")?;
    assert_eq!(spaces()?, 0);
    Ok(())
}
