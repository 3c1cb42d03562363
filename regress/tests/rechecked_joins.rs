//! READ COMMITTED checks a row again after somebody else changed it: also where
//! the rest of the join was made on another server.

use std::time::Duration;

use regress::{Session, Shape, TestCluster, eventually};

const BOUND: Duration = Duration::from_secs(20);

#[test]
fn a_changed_row_is_joined_again_with_the_rows_at_hand() -> anyhow::Result<()> {
    let servers = TestCluster::start(&Shape { nodes: 2, is_plain: true, config: &[] })?;
    servers.session(1)?.run("ALTER SYSTEM SET shared_preload_libraries = 'shardman'")?;
    servers.on_node("stop", 1)?;
    servers.on_node("start", 1)?;
    servers.session(2)?.run(
        "CREATE TABLE a AS SELECT i AS id, i % 7 AS k FROM generate_series(1, 20) i; \
         CREATE TABLE b AS SELECT i AS id, i * 2 AS a FROM generate_series(1, 20) i",
    )?;
    let first = servers.session(1)?;
    first.run(&format!(
        "CREATE EXTENSION shardman; \
         CREATE SERVER far FOREIGN DATA WRAPPER shardman_fdw \
             OPTIONS (host '127.0.0.1', port '{}', dbname 'postgres'); \
         CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'postgres'); \
         CREATE FOREIGN TABLE a (id int, k int) SERVER far OPTIONS (schema_name 'public'); \
         CREATE FOREIGN TABLE b (id int, a int) SERVER far OPTIONS (schema_name 'public'); \
         ANALYZE a; ANALYZE b; \
         CREATE TABLE here AS SELECT i AS id, i AS n FROM generate_series(1, 8) i",
        servers.port(2)
    ))?;
    const UPDATE: &str = "UPDATE here SET n = here.n + a.k \
         FROM a LEFT JOIN b ON a.id = b.a AND b.id <> 2 \
         WHERE here.id = a.id AND here.n + coalesce(b.id, 0) < 1000";
    let plan = first.rows(&format!("EXPLAIN (VERBOSE) {UPDATE}"))?;
    let is_pushed = plan.iter().flatten().flatten().any(|line| line.contains("LEFT JOIN"));
    assert!(is_pushed, "the join is made here: {plan:?}");

    // One changed row still qualifies, another does no longer.
    first
        .run("BEGIN; UPDATE here SET n = 100 WHERE id = 4; UPDATE here SET n = 998 WHERE id = 6")?;
    let connstr = servers.connstr(1);
    let second = std::thread::spawn(move || Session::open(&connstr)?.run(UPDATE));
    // Within a transaction, first would look at the same picture for ever.
    let onlooker = servers.session(1)?;
    eventually("the second waits for the first", BOUND, || {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        Ok((onlooker.value(waits)? == "1").then_some(()))
    })?;
    first.run("COMMIT")?;
    second.join().expect("the thread does not panic")?;

    let rows = first.rows("SELECT id, n FROM here ORDER BY id")?;
    let shown: Vec<String> =
        rows.iter().map(|r| r.iter().flatten().cloned().collect::<Vec<_>>().join(":")).collect();
    // 6 joins b.id = 3, so 998 + 3 is too much; 4 joins none, so 100 + 4.
    assert_eq!(shown.join(" "), "1:2 2:4 3:6 4:104 5:10 6:998 7:7 8:9");
    Ok(())
}
