//! Waiting for jobs of a cluster.

use std::time::Duration;

use anyhow::ensure;

use crate::{TestCluster, eventually};

/// For a job with no more than a few thousand rows to move, on a loaded machine.
const BOUND: Duration = Duration::from_secs(150);

/// How a job ended: its status and its message, as node 1 sees them. Each look is a
/// session of its own: the test may kill nodes meanwhile.
pub fn ended(cluster: &TestCluster, job: i64) -> anyhow::Result<(String, String)> {
    eventually(&format!("job {job} is over"), BOUND, || {
        let (status, message) = job_state(cluster, job)?;
        Ok(is_over(&status).then_some((status, message)))
    })
}

/// Waits until a job has succeeded; an error if it ends in another way.
pub fn succeeded(cluster: &TestCluster, job: i64) -> anyhow::Result<()> {
    let (status, message) = ended(cluster, job)?;
    ensure!(status == "success", "job {job}: {status}: {message}");
    Ok(())
}

/// Waits until a job that is not over has a message with this in it.
pub fn says(cluster: &TestCluster, job: i64, word: &str) -> anyhow::Result<()> {
    let (status, message) = eventually(&format!("job {job} says \"{word}\""), BOUND, || {
        let (status, message) = job_state(cluster, job)?;
        Ok((is_over(&status) || message.contains(word)).then_some((status, message)))
    })?;
    ensure!(!is_over(&status), "job {job}, before it said \"{word}\": {status}: {message}");
    Ok(())
}

fn is_over(status: &str) -> bool {
    !["waiting", "in progress"].contains(&status)
}

/// Status and message now, as node 1 sees them.
fn job_state(cluster: &TestCluster, job: i64) -> anyhow::Result<(String, String)> {
    let rows = cluster.session(1)?.rows(&format!(
        "SELECT status, coalesce(message, '') FROM shardman.cmd_log WHERE id = {job}"
    ))?;
    match rows.as_slice() {
        [row] => {
            let field = |at: usize| row[at].clone().unwrap_or_default();
            Ok((field(0), field(1)))
        }
        _ => anyhow::bail!("job {job} is not known"),
    }
}
