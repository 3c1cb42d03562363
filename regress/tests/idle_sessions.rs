//! Sessions that are not used for `shardman.idle_connection_timeout` are closed,
//! without anybody's doing and never in a transaction.

use std::time::Duration;

use regress::{Session, TestCluster, eventually};

const BOUND: Duration = Duration::from_secs(20);

/// The process at the other end of `here`'s session, which has just read `idl`.
fn process(here: &Session, there: &Session) -> anyhow::Result<String> {
    here.run("BEGIN")?;
    assert_eq!(here.value("SELECT count(*) >= 100 FROM idl")?, "t");
    let pid = there.value(
        "SELECT pid FROM pg_stat_activity WHERE usename = 'shardman_node' AND query ~ 'idl' AND state <> 'idle'",
    )?;
    here.run("COMMIT")?;
    Ok(pid)
}

fn is_there(pid: &str, there: &Session) -> anyhow::Result<bool> {
    let sql = format!("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})");
    Ok(there.value(&sql)? == "t")
}

#[test]
fn idle_sessions_are_closed_and_opened_again() -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    let (here, there) = (cluster.session(1)?, cluster.session(2)?);
    let gone = |pid: &str| {
        eventually("the session is closed", BOUND, || Ok((!is_there(pid, &there)?).then_some(())))
    };
    here.run("CREATE TABLE idl (id int PRIMARY KEY) WITH (distributed_by = 'id', num_parts = 4)")?;
    here.run("INSERT INTO idl SELECT generate_series(1, 100)")?;
    let pid = process(&here, &there)?;

    // Within a transaction, no time is too long.
    here.run("SET shardman.idle_connection_timeout = '300ms'")?;
    here.run("BEGIN")?;
    assert_eq!(here.value("SELECT count(*) FROM idl")?, "100");
    here.run("SELECT pg_sleep(0.8)")?;
    assert!(is_there(&pid, &there)?);
    assert_eq!(here.value("SELECT count(*) FROM idl")?, "100");
    assert!(is_there(&pid, &there)?);
    here.run("COMMIT")?;

    // Nothing happens here any more.
    gone(&pid)?;

    let pid = process(&here, &there)?;
    here.run("INSERT INTO idl SELECT generate_series(101, 200)")?;
    assert_eq!(here.value("SELECT count(*) FROM idl")?, "200");
    gone(&pid)?;

    // An error clears PostgreSQL's timers; the transaction's end sets ours again.
    let pid = process(&here, &there)?;
    assert!(here.run("SELECT count(*) / 0 FROM idl").is_err());
    gone(&pid)?;
    assert_eq!(here.value("SELECT count(*) FROM idl")?, "200");
    Ok(())
}
