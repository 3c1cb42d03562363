//! Taking nodes out of a cluster, and what becomes of them.

use std::time::Duration;

use regress::{Session, TestCluster, eventually};

const BOUND: Duration = Duration::from_secs(60);

fn remove(session: &Session, arguments: &str) -> anyhow::Result<(String, String)> {
    let job = session.integer(&format!("SELECT shardman.rm_node({arguments})"))?;
    let status = session.value(&format!("SELECT shardman.wait_cmd({job})"))?;
    let message =
        session.value(&format!("SELECT message FROM shardman.cmd_log WHERE id = {job}"))?;
    Ok((status, message))
}

#[test]
fn a_node_leaves_and_is_no_member_any_more() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let [one, two, three] = [1, 2, 3].map(|node| cluster.session(node));
    let (one, two, three) = (one?, two?, three?);
    one.run(
        "CREATE TABLE t (id integer PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 6);
             INSERT INTO t SELECT generate_series(1, 60)",
    )?;

    // One that holds rows stays.
    let (status, message) = remove(&two, "3")?;
    assert_eq!(status, "failed");
    assert!(message.contains("holds 2 partitions"), "{message}");
    assert_eq!(one.value("SELECT count(*) FROM shardman.nodes")?, "3");
    assert_eq!(one.failure("SELECT shardman.rm_node(9)")?.code().code(), "42704");
    one.run("CREATE ROLE nobody; SET ROLE nobody")?;
    assert_eq!(one.failure("SELECT shardman.rm_node(3)")?.code().code(), "42501");
    one.run("RESET ROLE; DROP ROLE nobody")?;

    // An empty one goes, also when it is asked itself.
    cluster.dev(&["add"])?;
    let four = cluster.session(4)?;
    assert_eq!(four.failure("SELECT shardman.leave_cluster()")?.code().code(), "55000");
    let job = four.integer("SELECT shardman.rm_node(4)")?;
    let (status, message) = (
        one.value(&format!("SELECT shardman.wait_cmd({job})"))?,
        one.value(&format!("SELECT message FROM shardman.cmd_log WHERE id = {job}"))?,
    );
    assert_eq!((status.as_str(), message.as_str()), ("success", ""));
    for node in [&one, &two, &three] {
        assert_eq!(
            node.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM shardman.nodes")?,
            "1 2 3"
        );
        eventually("the voters are told", BOUND, || {
            let voters = node.value("SELECT voters FROM shardman.raft_status")?;
            Ok((voters == "{1,2,3}").then_some(()))
        })?;
    }
    let four = cluster.session(4)?;
    assert_eq!(four.value("SELECT coalesce(shardman.my_id()::text, 'none')")?, "none");
    one.run("CREATE TABLE u (id integer) WITH (distributed_by = 'id', num_parts = 6)")?;

    // It may come back, as another node.
    four.run("DROP EXTENSION shardman CASCADE")?;
    drop(four);
    let four = cluster.session(4)?;
    four.run("DROP TABLE IF EXISTS t; CREATE EXTENSION shardman")?;
    drop(four);
    let id = one.integer(&format!("SELECT shardman.add_node('{}')", cluster.connstr(4)))?;
    assert_eq!(id, 5);

    // One that is away does not hear of it, and is refused when it is back.
    cluster.on_node("kill", 4)?;
    eventually("it is seen to be away", BOUND, || {
        let state = one.value("SELECT state FROM shardman.nodes WHERE id = 5")?;
        Ok((state != "active").then_some(()))
    })?;
    let (status, message) = remove(&one, "5, force => true")?;
    assert_eq!(status, "done", "{message}");
    assert!(message.contains("could not be told"), "{message}");
    cluster.on_node("start", 4)?;
    let four = eventually("its server is back", BOUND, || Ok(Some(cluster.session(4)?)))?;
    eventually("it knows", BOUND, || {
        let status = four.value("SELECT shardman.raft_status_json()")?;
        Ok(status.contains("removed from the cluster").then_some(()))
    })?;
    let failure = four.failure("SELECT count(*) FROM t")?;
    let told = format!("{} {}", failure.message(), failure.detail().unwrap_or_default());
    assert!(told.contains("was removed from the cluster"), "{failure:?}");
    four.run("SELECT shardman.leave_cluster()")?;
    let connstr = cluster.connstr(1);
    let refused = cluster.ctl_output(&["nodes", "rm", &connstr, "--id", "3"])?;
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("partitions; move them"), "{told}");
    assert_eq!(one.value("SELECT count(*) FROM t")?, "60");
    one.run("CREATE TABLE v (id integer) WITH (distributed_by = 'id', num_parts = 6)")?;
    Ok(())
}
