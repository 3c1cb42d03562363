//! Taking a node out of the cluster.

use std::time::{Duration, Instant};

use anyhow::bail;
use serde::Serialize;

use super::member::Member;
use crate::exit::Refused;
use crate::output::Output;

/// Between two looks at the job.
const PAUSE: Duration = Duration::from_millis(300);
const BOUND: Duration = Duration::from_secs(300);

/// How the job ended.
#[derive(Serialize)]
struct Removal {
    job: i64,
    node: i32,
    status: String,
    message: String,
}

/// Submits the job and waits for its end.
pub async fn remove(member: &Member, id: i32, force: bool, output: Output) -> anyhow::Result<()> {
    let job = member.one(&format!("SELECT shardman.rm_node({id}, {force})")).await?;
    let job: i64 = job.try_get(0)?;
    output.progress(&format!("job {job} removes node {id}"));
    let start = Instant::now();
    loop {
        let look = format!("SELECT status, message FROM shardman.cmd_log WHERE id = {job}");
        let row = member.one(&look).await?;
        let (status, message): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        match status.as_str() {
            "waiting" | "in progress" => {}
            "failed" | "canceled" => bail!(Refused(format!("job {job} {status}: {message}"))),
            _ => {
                let removal = Removal { job, node: id, status, message };
                return output.print(&removal, |it| {
                    let note = if it.message.is_empty() {
                        String::new()
                    } else {
                        format!("; {}", it.message)
                    };
                    format!("node {id} removed{note}")
                });
            }
        }
        if start.elapsed() > BOUND {
            bail!("job {job} goes on after {} s: {status} {message}", BOUND.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
