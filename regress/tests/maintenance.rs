//! VACUUM, ANALYZE, CLUSTER and REINDEX of a sharded table reach the nodes that
//! hold its rows, as the user who asks.

use std::time::Duration;

use anyhow::ensure;
use regress::{Session, TestCluster, eventually};

const BOUND: Duration = Duration::from_secs(10);

struct Stage {
    cluster: TestCluster,
    nodes: Vec<Session>,
}

impl Stage {
    fn set() -> anyhow::Result<Self> {
        let cluster = TestCluster::up(3)?;
        let nodes = (1..=3).map(|node| cluster.session(node)).collect::<Result<Vec<_>, _>>()?;
        nodes[0].run(
            "CREATE ROLE owner IN ROLE global; CREATE ROLE stranger IN ROLE global;
             GRANT CREATE ON SCHEMA public TO owner;
             SELECT shardman.broadcast_sql('GRANT CREATE ON SCHEMA public TO owner');
             SET ROLE owner;
             CREATE TABLE t (id integer PRIMARY KEY, note text) WITH (distributed_by = 'id', num_parts = 6);
             INSERT INTO t SELECT i, 'n' || i % 7 FROM generate_series(1, 600) AS i;
             CREATE TABLE plain (id integer)",
        )?;
        Ok(Self { cluster, nodes })
    }

    /// What `count` is of each node's own partitions, all together.
    fn counts(&self, count: &str) -> anyhow::Result<Vec<i64>> {
        let sql = format!(
            "SELECT sum({count}) FROM pg_stat_all_tables AS s JOIN pg_class AS c ON c.oid = s.relid
             WHERE s.schemaname = 'shardman_data'"
        );
        self.nodes.iter().map(|node| node.integer(&sql)).collect()
    }

    /// Runs a statement as `user` on the first node; tells for each node by how
    /// much `count` grows.
    fn grows(&self, user: &str, sql: &str, count: &str) -> anyhow::Result<Vec<i64>> {
        let before = self.counts(count)?;
        self.nodes[0].run(&format!("SET ROLE {user}"))?;
        self.nodes[0].run(sql)?;
        let after = self.counts(count)?;
        Ok(before.iter().zip(after).map(|(before, after)| after - before).collect())
    }

    /// The files of all partitions and indexes of a node.
    fn files(&self, node: usize) -> anyhow::Result<Vec<Vec<Option<String>>>> {
        self.nodes[node].rows(
            "SELECT oid, relfilenode FROM pg_class
             WHERE relnamespace = 'shardman_data'::regnamespace AND relkind IN ('r', 'i') ORDER BY 1",
        )
    }
}

#[test]
fn maintenance_of_a_sharded_table_is_done_where_its_rows_are() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    let here = &stage.nodes[0];
    // Six partitions on three nodes.
    for sql in [
        "VACUUM t",
        "VACUUM (FREEZE, VERBOSE, PARALLEL 0, INDEX_CLEANUP off) plain, t",
        "VACUUM (ANALYZE, SKIP_LOCKED) t (note), plain",
    ] {
        let grown = stage.grows("owner", sql, "vacuum_count")?;
        ensure!(grown == [2, 2, 2], "{sql}: {grown:?}");
    }
    for sql in ["ANALYZE t", "ANALYZE (VERBOSE) plain, t (id, note)", "VACUUM (ANALYZE) t"] {
        let grown = stage.grows("owner", sql, "analyze_count")?;
        ensure!(grown == [2, 2, 2], "{sql}: {grown:?}");
    }
    for sql in ["VACUUM t", "VACUUM (FULL) t", "ANALYZE t"] {
        let count = "vacuum_count + analyze_count";
        ensure!(stage.grows("stranger", sql, count)? == [0, 0, 0], "a stranger may {sql}");
    }
    // Within a transaction, with what it has done.
    here.run("SET ROLE owner")?;
    here.run("BEGIN; INSERT INTO t SELECT generate_series(1001, 2000), 'new'; ANALYZE t")?;
    let planned = here.rows("EXPLAIN SELECT FROM t")?;
    here.run("ROLLBACK")?;
    ensure!(
        planned.iter().flatten().flatten().any(|line| line.contains("rows=1600")),
        "{planned:?}"
    );
    let before = stage.counts("vacuum_count")?;
    for sql in ["VACUUM t", "CLUSTER t USING t_pkey", "REINDEX TABLE t"] {
        here.run("BEGIN")?;
        let error = here.failure(sql)?;
        ensure!(error.code().code() == "25001", "{sql} in a transaction: {error}");
        here.run("ROLLBACK")?;
    }
    ensure!(before == stage.counts("vacuum_count")?);

    for sql in [
        "VACUUM (FULL) t",
        "CLUSTER t USING t_pkey",
        "REINDEX (VERBOSE) TABLE t",
        "REINDEX INDEX t_pkey",
    ] {
        let before = [stage.files(0)?, stage.files(1)?, stage.files(2)?];
        here.run("SET ROLE stranger")?;
        if !sql.starts_with("VACUUM") {
            ensure!(here.failure(sql)?.code().code() == "42501", "a stranger may {sql}");
        }
        here.run("SET ROLE owner")?;
        here.run(sql)?;
        for (node, files) in before.iter().enumerate() {
            ensure!(*files != stage.files(node)?, "{sql} did nothing on node {}", node + 1);
        }
    }
    ensure!(here.integer("SELECT count(*) FROM t")? == 600);

    // Every planner knows the table as a whole.
    let known = "SELECT count(*) FROM pg_stats WHERE tablename = 't' AND inherited AND attname = 'note' AND n_distinct = 7";
    stage.nodes[2].run("SET ROLE owner; SELECT shardman.global_analyze(); RESET ROLE")?;
    for node in &stage.nodes {
        node.run("RESET ROLE")?;
        ensure!(node.integer(known)? == 1, "a node does not know the table");
    }
    Ok(())
}

#[test]
fn maintenance_that_is_cancelled_goes_on_nowhere() -> anyhow::Result<()> {
    let stage = Stage::set()?;
    let holder = stage.cluster.session(2)?;
    let leaf = holder.value(
        "SELECT oid::regclass FROM pg_class WHERE relnamespace = 'shardman_data'::regnamespace AND relkind = 'r' LIMIT 1",
    )?;
    holder.run(&format!("BEGIN; LOCK TABLE {leaf}"))?;
    stage.nodes[0].run("SET statement_timeout = '1500ms'")?;
    let error = stage.nodes[0].failure("VACUUM t")?;
    ensure!(error.code().code() == "57014", "{error:?}");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SET shardman.maintain%' AND state = 'active'";
    eventually("nobody waits for the partition", BOUND, || {
        Ok((stage.nodes[1].integer(waiting)? == 0).then_some(()))
    })?;
    holder.run("ROLLBACK")?;
    stage.nodes[0].run("RESET statement_timeout")?;
    stage.nodes[0].run("VACUUM t")
}
