//! What is done to sessions in the middle of their work.

use anyhow::Context;

use crate::TestCluster;

/// Has sessions of node `node` end in the orderly way: those where the condition
/// `whose` on `pg_stat_activity` holds.
pub fn end_sessions(cluster: &TestCluster, node: u16, whose: &str) -> anyhow::Result<()> {
    cluster.session(node)?.run(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE {whose} AND backend_type = 'client backend' AND pid <> pg_backend_pid()
           AND query NOT LIKE '%raft_rpc%'"
    ))
}

/// SIGKILL for the session of node `node` that did something last: the server
/// restarts all of its processes.
pub fn kill_backend(cluster: &TestCluster, node: u16) -> anyhow::Result<()> {
    let session = cluster.session(node)?;
    let pid = session.rows(
        "SELECT pid FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
         ORDER BY state_change DESC LIMIT 1",
    )?;
    let pid = pid.into_iter().flatten().flatten().next().context("nobody is connected")?;
    cluster.kill_process(pid.parse()?)
}
