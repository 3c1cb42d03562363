//! Every fault turns a row of `shardman.health()` false, and nothing else does.

use std::time::Duration;

use regress::{Session, TestCluster, eventually};

const BOUND: Duration = Duration::from_secs(60);

/// The checks that are not all right, with their details.
fn troubles(session: &Session) -> anyhow::Result<Vec<(String, String)>> {
    let rows = session.rows("SELECT \"check\", detail FROM shardman.health() WHERE NOT ok")?;
    let text = |value: Option<&Option<String>>| value.cloned().flatten().unwrap_or_default();
    Ok(rows.iter().map(|row| (text(row.first()), text(row.get(1)))).collect())
}

/// Exactly this check fails, and says so.
fn fails(session: &Session, check: &str, says: &str) -> anyhow::Result<()> {
    let found = troubles(session)?;
    let [(name, detail)] = &found[..] else { anyhow::bail!("for {check}: {found:?}") };
    anyhow::ensure!(name == check && detail.contains(says), "for {check}: {found:?}");
    Ok(())
}

fn is_well(session: &Session) -> anyhow::Result<()> {
    let found = troubles(session)?;
    anyhow::ensure!(found.is_empty(), "{found:?}");
    Ok(())
}

#[test]
fn each_fault_turns_its_row_false() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    let [one, two] = [1, 2].map(|node| cluster.session(node));
    let (one, two) = (one?, two?);
    one.run(
        "CREATE TABLE t (id integer, s text) WITH (distributed_by = 'id', num_parts = 6);
             CREATE INDEX t_s ON t (s)",
    )?;
    is_well(&one)?;
    is_well(&two)?;

    two.run("SET allow_system_table_mods = on;
             UPDATE pg_index SET indisvalid = false WHERE indexrelid = (
                 SELECT min(oid) FROM pg_class WHERE relkind = 'i' AND relnamespace = 'shardman_data'::regnamespace)")?;
    fails(&one, "indexes are valid", "node 2: shardman_data.")?;
    two.run("UPDATE pg_index SET indisvalid = true WHERE NOT indisvalid")?;

    two.run("SET shardman.sync_schema = off")?;
    two.run("COMMENT ON TABLE t IS 'mine'")?;
    fails(&one, "schema is the same", "nodes 1, 3 have")?;
    two.run("COMMENT ON TABLE t IS NULL")?;
    two.run("RESET shardman.sync_schema")?;

    two.run("CREATE PUBLICATION shardman_move_1_1")?;
    fails(&one, "nothing is left over", "shardman_move_1_1")?;
    two.run("DROP PUBLICATION shardman_move_1_1")?;

    two.run("INSERT INTO shardman.ddl_failure VALUES (7, now(), 'no room')")?;
    fails(&one, "schema changes are applied", "node 2 stands at entry 7: no room")?;
    two.run("DELETE FROM shardman.ddl_failure")?;

    two.run("UPDATE shardman.log_position SET applied_index = applied_index - 1000 WHERE queue = 'nodes'")?;
    fails(&one, "metadata log is applied", "node 2 is at -")?;
    two.run("UPDATE shardman.log_position SET applied_index = applied_index + 1000 WHERE queue = 'nodes'")?;

    // What is prepared and forgotten.
    two.run("BEGIN; CREATE TABLE forgotten (); PREPARE TRANSACTION 'sc_99_1_1_1_2'")?;
    eventually("the prepared transaction is old", BOUND, || {
        Ok(fails(&one, "no old prepared transactions", "sc_99_1_1_1_2").ok())
    })?;
    two.run("ROLLBACK PREPARED 'sc_99_1_1_1_2'")?;
    is_well(&one)?;

    // A setting that a restart has changed.
    let three = cluster.session(3)?;
    three.run("ALTER SYSTEM SET max_prepared_transactions = 0")?;
    drop(three);
    cluster.on_node("stop", 3)?;
    eventually("node 3 is missed", BOUND, || {
        let found = troubles(&one)?;
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        Ok((names == ["nodes answer", "nodes are active"]).then_some(()))
    })?;
    cluster.on_node("start", 3)?;
    eventually("node 3 is back with its setting", BOUND, || {
        let found = troubles(&one)?;
        let [(name, detail)] = &found[..] else { return Ok(None) };
        Ok((name == "settings fit" && detail.contains("node 3 cannot prepare")).then_some(()))
    })?;

    // A majority is gone.
    cluster.on_node("kill", 2)?;
    cluster.on_node("kill", 3)?;
    eventually("the log has no leader", BOUND, || {
        let found = troubles(&one)?;
        Ok(found.iter().any(|(name, _)| name == "metadata log has a leader").then_some(()))
    })?;
    Ok(())
}
