//! What runs over several nodes can be seen from each, and how it ended is
//! counted.

use regress::{Session, TestCluster};

fn counter(session: &Session, node: i64, name: &str) -> anyhow::Result<i64> {
    session.integer(&format!(
        "SELECT {name} FROM shardman.transaction_counters WHERE node_id = {node}"
    ))
}

#[test]
fn running_transactions_are_listed_and_ended_ones_counted() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let ids = (1..=3).map(|node| cluster.member_id(node)).collect::<Result<Vec<_>, _>>()?;
    for node in 1..=3 {
        cluster.session(node)?.run("CREATE ROLE alice LOGIN")?;
    }
    let admin = cluster.session(1)?;
    admin.run(
        "CREATE TABLE t (id int PRIMARY KEY, v int) WITH (distributed_by = 'id', num_parts = 3);
         GRANT SELECT, INSERT, UPDATE, DELETE ON t TO alice",
    )?;
    let keys = ids
        .iter()
        .map(|id| {
            admin.integer(&format!(
                "SELECT min(g) FROM generate_series(1, 100) g JOIN shardman.parts p
                 ON p.rel = 't'::regclass AND satisfies_hash_partition('t'::regclass, 3, p.pnum, g)
                 WHERE p.node_id = {id}"
            ))
        })
        .collect::<Result<Vec<_>, _>>()?;
    // Anybody may look, from anywhere.
    let watcher = Session::open(&cluster.connstr(3).replace("user=postgres", "user=alice"))?;
    let before = ["one_phase", "two_phase", "aborted"].map(|name| counter(&watcher, ids[0], name));
    let [one, two, aborted] = before;
    let (one, two, aborted) = (one?, two?, aborted?);

    let session = Session::open(&cluster.connstr(1).replace("user=postgres", "user=alice"))?;
    let pid = session.integer("SELECT pg_backend_pid()")?;
    session.run(&format!("INSERT INTO t VALUES ({}, 0)", keys[1]))?;
    session.run(&format!("BEGIN; UPDATE t SET v = 1 WHERE id = {}; COMMIT", keys[1]))?;
    assert_eq!(counter(&watcher, ids[0], "one_phase")?, one + 2);

    session.run("BEGIN; INSERT INTO t SELECT g, 0 FROM generate_series(101, 200) g")?;
    let mine =
        format!("FROM shardman.dist_transactions WHERE pid = {pid} AND coordinator = {}", ids[0]);
    let row = watcher
        .rows(&format!("SELECT usename, state, participants, gids, started < now() {mine}"))?;
    let others = format!("{{{},{}}}", ids[1], ids[2]);
    let expected = ["alice", "idle in transaction", &others].map(|text| Some(text.to_owned()));
    assert_eq!(row, [[&expected[..], &[None, Some("t".to_owned())]].concat()]);
    session.run("COMMIT")?;
    assert_eq!(watcher.integer(&format!("SELECT count(*) {mine}"))?, 0);
    assert_eq!(counter(&watcher, ids[0], "two_phase")?, two + 1);

    session.run(&format!("BEGIN; UPDATE t SET v = 2 WHERE id = {}; ROLLBACK", keys[2]))?;
    assert_eq!(counter(&watcher, ids[0], "aborted")?, aborted + 1);
    // A transaction of one node is none of these.
    let here = keys[0];
    session.run(&format!("INSERT INTO t VALUES ({here}, 1)"))?;
    session.run(&format!("BEGIN; UPDATE t SET v = 2 WHERE id = {here}; ROLLBACK"))?;
    let after = ["one_phase", "two_phase", "aborted"].map(|name| counter(&watcher, ids[0], name));
    let [one_now, two_now, aborted_now] = after;
    assert_eq!((one_now?, two_now?, aborted_now?), (one + 2, two + 1, aborted + 1));

    // A node that is down is left out.
    cluster.on_node("kill", 2)?;
    let seen = watcher.rows("SELECT node_id FROM shardman.transaction_counters ORDER BY 1")?;
    assert_eq!(seen, [[Some(ids[0].to_string())], [Some(ids[2].to_string())]]);
    Ok(())
}
