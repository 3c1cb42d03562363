//! Schema changes while nodes are away, and by several sessions at once.

use std::thread;
use std::time::Duration;

use regress::{Shape, TestCluster, eventually};

const BOUND: Duration = Duration::from_secs(30);
const DIGEST: &str = "SELECT shardman.schema_digest()";

fn digests_agree(cluster: &TestCluster) -> anyhow::Result<()> {
    eventually("the schema is the same on every node", BOUND, || {
        let digests = (1..=3).map(|node| cluster.session(node)?.value(DIGEST));
        let digests = digests.collect::<Result<Vec<_>, _>>()?;
        Ok(digests.iter().all(|digest| *digest == digests[0]).then_some(()))
    })
}

#[test]
fn the_log_brings_the_schema_to_nodes_that_were_away() -> anyhow::Result<()> {
    let config = ["shardman.node_timeout=6s", "shardman.lease_timeout=5s"];
    let cluster = TestCluster::start(&Shape { nodes: 3, is_plain: false, config: &config })?;
    let session = cluster.session(1)?;
    session.run(
        "CREATE TABLE t (id integer PRIMARY KEY, v integer) WITH (distributed_by = 'id', num_parts = 6);
         INSERT INTO t SELECT i, i FROM generate_series(1, 100) AS i",
    )?;
    let kept = || session.integer("SELECT (shardman.schema_log()->>'kept')::bigint");
    eventually("all nodes have said that they have the table", BOUND, || {
        Ok((kept()? == 0).then_some(()))
    })?;
    let lost = cluster.member_id(3)?;
    let name = session.value(&format!("SELECT name FROM shardman.nodes WHERE id = {lost}"))?;
    cluster.on_node("kill", 3)?;

    // What concerns the catalogues alone goes on, noticed or not.
    session.run("ALTER TABLE t ADD COLUMN at timestamptz DEFAULT current_timestamp")?;
    let refused = session.failure("CREATE INDEX ON t (v)")?;
    assert_eq!(refused.code().code(), "55000");
    assert!(refused.message().contains(&name), "{}", refused.message());
    eventually("the node is marked down", BOUND, || {
        let state =
            session.value(&format!("SELECT state FROM shardman.nodes WHERE id = {lost}"))?;
        Ok((state == "down").then_some(()))
    })?;
    cluster.session(2)?.run(
        "CREATE TABLE u (id integer PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 6);
         INSERT INTO u SELECT generate_series(1, 100); COMMENT ON TABLE u IS 'made meanwhile'",
    )?;
    assert_eq!(session.failure("DROP TABLE u")?.code().code(), "55000");
    eventually("all entries are kept for the node that is away", BOUND, || {
        Ok((kept()? == 2).then_some(()))
    })?;

    cluster.on_node("start", 3)?;
    digests_agree(&cluster)?;
    eventually("the node is active and nothing is kept", BOUND, || {
        let state =
            session.value(&format!("SELECT state FROM shardman.nodes WHERE id = {lost}"))?;
        Ok((state == "active" && kept()? == 0).then_some(()))
    })?;
    let there = cluster.session(3)?;
    assert_eq!(there.integer("SELECT count(*) FROM u")?, 100);
    // now() was that of the statement, though it ran there much later.
    assert_eq!(session.integer("SELECT count(DISTINCT at) FROM t")?, 1);
    there.run("CREATE INDEX ON t (v)")?;

    // A minority changes nothing.
    for node in [1, 2] {
        cluster.on_node("kill", node)?;
    }
    let error = there.failure("ALTER TABLE t ADD COLUMN never integer")?;
    assert_eq!(error.code().code(), "57P03", "{error}");
    // Nor does it read, once its lease is over.
    let error = there.failure("SELECT count(*) FROM t WHERE id < 0")?;
    assert_eq!(error.code().code(), "40001", "{error}");
    for node in [1, 2] {
        cluster.on_node("start", node)?;
    }
    eventually("a majority is back", BOUND, || {
        there.run("ALTER TABLE t ADD COLUMN again integer").map(Some)
    })?;
    digests_agree(&cluster)
}

#[test]
fn sessions_on_two_nodes_create_tables_at_the_same_time() -> anyhow::Result<()> {
    const TABLES: usize = 15;
    let cluster = TestCluster::up(3)?;
    thread::scope(|scope| {
        let create = |node: u16| {
            let session = cluster.session(node)?;
            (0..TABLES).try_for_each(|number| {
                session.run(&format!(
                    "CREATE TABLE t_{node}_{number} (id integer PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 3)"
                ))
            })
        };
        let other = scope.spawn(move || create(2));
        create(1)?;
        other.join().map_err(|_| anyhow::anyhow!("the other session panicked"))?
    })?;
    digests_agree(&cluster)?;
    let session = cluster.session(3)?;
    assert_eq!(session.integer("SELECT count(*) FROM shardman.sharded_tables")?, 2 * TABLES as i64);
    Ok(())
}
