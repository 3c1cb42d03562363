//! What goes wrong meanwhile.

use std::thread;
use std::time::Duration;

use regress::random::Prng;
use regress::{end_sessions, kill_backend};

use crate::{NODES, Run};

/// How many operations are answered between two faults.
const BETWEEN: u64 = 30;
/// Long enough for a majority to elect another leader.
const AWAY: Duration = Duration::from_millis(2500);

/// One fault after another, on every node in turn.
pub fn strike(run: &Run, seed: u64, rounds: usize) -> anyhow::Result<()> {
    let mut prng = Prng::new(seed);
    for round in 0..rounds {
        run.wait_for_progress(BETWEEN)?;
        let node = 1 + prng.below(usize::from(NODES)) as u16;
        match round % 5 {
            0 => {
                let _cut_off = run.cluster.cut_off(node);
                thread::sleep(AWAY);
            }
            1 => {
                run.cluster.on_node("kill", node)?;
                run.cluster.on_node("start", node)?;
            }
            2 => {
                run.cluster.on_node("pause", node)?;
                thread::sleep(AWAY);
                run.cluster.on_node("resume", node)?;
            }
            3 => end_sessions(&run.cluster, node, "usename = 'shardman_node'")?,
            _ => kill_backend(&run.cluster, node)?,
        }
    }
    run.wait_for_progress(BETWEEN)
}
