//! A cluster comes up, grows, and tells the same story on every node.

use std::time::Duration;

use anyhow::Context;
use regress::{TestCluster, eventually};
use serde_json::Value;

const BOUND: Duration = Duration::from_secs(60);

#[test]
fn every_node_knows_every_node() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    for node in 1..=3 {
        let session = cluster.session(node)?;
        let active = "SELECT count(*) FROM shardman.nodes WHERE state = 'active'";
        assert_eq!(session.integer(active)?, 3, "on node {node}");
        assert_eq!(session.integer("SELECT shardman.my_id()")?, cluster.member_id(node)?);
        // The role may lag behind the membership; it settles.
        eventually("three voters, one of them leader", BOUND, || {
            let roles = "SELECT string_agg(raft_role, ',' ORDER BY raft_role) FROM shardman.nodes";
            Ok((session.value(roles)? == "leader,voter,voter").then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn status_nodes_and_tables_answer_from_any_node() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let session = cluster.session(1)?;
    session
        .run("CREATE TABLE t (id int PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 6)")?;
    for node in 1..=3 {
        let connstr = cluster.connstr(node);
        let status = cluster.ctl(&["status", &connstr])?;
        assert_eq!(status["asked_node"], cluster.member_id(node)?);
        assert_eq!(status["sharded_tables"], 1);
        assert!(status["raft"]["leader"].is_i64(), "{status}");
        let nodes = cluster.ctl(&["nodes", "--connstr", &connstr])?;
        for entry in nodes.as_array().context("a list of nodes")? {
            assert_eq!(entry["reachable"], true, "{entry}");
            assert_eq!(entry["parts"], 2, "{entry}");
        }
        let tables = cluster.ctl(&["tables", &connstr])?;
        assert_eq!(tables[0]["name"], "t");
        assert_eq!(tables[0]["num_parts"], 6);
        assert_eq!(tables[0]["distribution_columns"], serde_json::json!(["id"]));
    }
    Ok(())
}

#[test]
fn a_node_that_is_added_has_the_tables_that_exist() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let session = cluster.session(1)?;
    session.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text) WITH (distributed_by = 'id', num_parts = 4);
         INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 100) g",
    )?;
    let report = cluster.dev(&["add"])?;
    assert_eq!(report["nodes"].as_array().map(Vec::len), Some(3));
    let newcomer = cluster.session(3)?;
    assert_eq!(newcomer.integer("SELECT count(*) FROM t")?, 100);
    newcomer.run("INSERT INTO t VALUES (101, 'through the newcomer')")?;
    assert_eq!(session.value("SELECT v FROM t WHERE id = 101")?, "through the newcomer");
    // A table made now has partitions there as well.
    newcomer
        .run("CREATE TABLE u (id int PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 6)")?;
    let nodes = "SELECT count(DISTINCT node_id) FROM shardman.parts WHERE rel = 'u'::regclass";
    assert_eq!(session.integer(nodes)?, 3);
    Ok(())
}

#[test]
fn a_second_founding_and_a_second_joining_are_refused() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let (first, second) = (cluster.session(1)?, cluster.session(2)?);
    let address = |node| format!("host=127.0.0.1 port={} dbname=postgres", cluster.port(node));
    let again = first.failure(&format!("SELECT shardman.create_cluster('{}')", address(1)))?;
    assert_eq!(again.code().code(), "55000", "{again}");
    let again = first.failure(&format!("SELECT shardman.add_node('{}')", cluster.connstr(2)))?;
    assert!(!again.code().code().starts_with("XX"), "{again}");
    let again = second.failure(&format!(
        "SELECT shardman.join_cluster('{}', '{}')",
        cluster.connstr(1),
        address(2)
    ))?;
    assert!(!again.code().code().starts_with("XX"), "{again}");
    assert_eq!(first.integer("SELECT count(*) FROM shardman.nodes")?, 2);
    Ok(())
}

#[test]
fn a_newcomer_can_join_by_itself() -> anyhow::Result<()> {
    let cluster = TestCluster::up(1)?;
    // A second set of servers, with a founder that knows of nobody yet.
    let newcomer = TestCluster::start(&regress::Shape {
        nodes: 1,
        is_plain: true,
        config: &["shared_preload_libraries=shardman", "shardman.database=postgres"],
    })?;
    let session = newcomer.session(1)?;
    session.run("CREATE EXTENSION shardman")?;
    let own = format!("host=127.0.0.1 port={} dbname=postgres", newcomer.port(1));
    let join = format!("SELECT shardman.join_cluster('{}', '{own}')", cluster.connstr(1));
    let id = session.integer(&join)?;
    for connection in [&session, &cluster.session(1)?] {
        eventually("the newcomer is active", BOUND, || {
            let state = format!("SELECT state FROM shardman.nodes WHERE id = {id}");
            Ok((connection.value(&state)? == "active").then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn status_says_which_node_does_not_answer() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    cluster.on_node("kill", 3)?;
    let nodes = cluster.ctl(&["nodes", &cluster.connstr(1)])?;
    let lost = cluster.member_id(3)?;
    for entry in nodes.as_array().context("a list of nodes")? {
        let is_lost = entry["id"].as_i64() == Some(lost);
        assert_eq!(entry["reachable"], Value::Bool(!is_lost), "{entry}");
        assert_eq!(entry["unreachable_reason"].is_string(), is_lost, "{entry}");
    }
    Ok(())
}
