//! Rows that a transaction has only locked on another node stay locked until its
//! own commit can be seen.

use std::time::Duration;

use regress::{TestCluster, eventually};

const BOUND: Duration = Duration::from_secs(30);

#[test]
fn row_locks_on_other_nodes_outlast_the_local_commit() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let session = cluster.session(1)?;
    session.run(
        "CREATE TABLE t (id int PRIMARY KEY, v int) WITH (distributed_by = 'id', num_parts = 2);
         INSERT INTO t SELECT g, 0 FROM generate_series(1, 20) g",
    )?;
    let key = |node: u16| {
        let id = cluster.member_id(node)?;
        session.integer(&format!(
            "SELECT min(g) FROM generate_series(1, 20) g JOIN shardman.parts p
             ON p.rel = 't'::regclass AND satisfies_hash_partition('t'::regclass, 2, p.pnum, g)
             WHERE p.node_id = {id}"
        ))
    };
    let (here, there) = (key(1)?, key(2)?);
    // Who has the lock on the one row may change the other; a commit that waits
    // for a standby which is not there is not seen yet.
    let other = cluster.session(1)?;
    other.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")?;
    other.run("SELECT pg_reload_conf()")?;
    eventually("the setting is in force", BOUND, || {
        Ok((cluster.session(1)?.value("SHOW synchronous_standby_names")? == "nobody").then_some(()))
    })?;
    let pid = session.integer("SELECT pg_backend_pid()")?;
    session.run(&format!(
        "BEGIN; SELECT v FROM t WHERE id = {there} FOR UPDATE; UPDATE t SET v = 1 WHERE id = {here}"
    ))?;
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| session.run("COMMIT"));
        eventually("the commit waits", BOUND, || {
            let waits = other.integer(&format!(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'SyncRep'"
            ))?;
            Ok((waits == 1).then_some(()))
        })?;
        assert_eq!(other.integer(&format!("SELECT v FROM t WHERE id = {here}"))?, 0);
        let locked = cluster.session(2)?;
        let error =
            locked.failure(&format!("SELECT v FROM t WHERE id = {there} FOR UPDATE NOWAIT"))?;
        assert_eq!(error.code().code(), "55P03", "{error}");
        other.run(&format!("SELECT pg_cancel_backend({pid})"))?;
        commit.join().expect("no panic")?;
        assert_eq!(other.integer(&format!("SELECT v FROM t WHERE id = {here}"))?, 1);
        // Answered, so it is free.
        locked.run(&format!("SELECT v FROM t WHERE id = {there} FOR UPDATE NOWAIT"))
    })
}
