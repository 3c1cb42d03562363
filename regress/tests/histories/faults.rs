//! What goes wrong meanwhile.

use std::time::Duration;

use regress::{Moment, end_sessions, kill_backend};

use crate::random::Random;
use crate::{NODES, Run};

/// How many transactions come through between two faults.
const BETWEEN: u64 = 40;

/// For a commit over several nodes to come by.
const MESSAGE_BOUND: Duration = Duration::from_secs(20);

/// One fault after another.
pub fn strike(run: &Run, seed: u64, rounds: usize) -> anyhow::Result<()> {
    let mut random = Random::new(seed);
    for round in 0..rounds {
        run.wait_for_progress(BETWEEN)?;
        let node = 1 + random.below(u64::from(NODES)) as u16;
        match round % 6 {
            0 => {
                run.cluster.on_node("kill", node)?;
                run.cluster.on_node("start", node)?;
            }
            4 => kill_in_commit(run, node, "COMMIT PREPARED 'sc_", Moment::Request, &mut random)?,
            5 => kill_in_commit(run, node, "PREPARE TRANSACTION", Moment::Reply, &mut random)?,
            1 => end_sessions(&run.cluster, node, "usename = 'shardman_node'")?,
            2 => {
                run.cluster.on_node("pause", node)?;
                run.cluster.on_node("resume", node)?;
                end_sessions(&run.cluster, node, "usename = 'postgres'")?;
            }
            _ => kill_backend(&run.cluster, node)?,
        }
    }
    run.wait_for_progress(BETWEEN)
}

/// SIGKILL for a node while a message of some commit is held at a participant:
/// a moment that is too short to be met by chance.
fn kill_in_commit(
    run: &Run,
    participant: u16,
    message: &str,
    moment: Moment,
    random: &mut Random,
) -> anyhow::Result<()> {
    let stop = run.cluster.proxy(participant).stop_at(message, moment);
    stop.wait(MESSAGE_BOUND)?;
    // Most are coordinated by one of the other two; of four, one hits the participant.
    let victim = (participant - 1 + random.below(4).min(2) as u16) % NODES + 1;
    run.cluster.on_node("kill", victim)?;
    drop(stop);
    run.cluster.on_node("start", victim)?;
    Ok(())
}
