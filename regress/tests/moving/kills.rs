//! A cluster grows and shrinks while its servers are killed.

use std::time::Duration;

use anyhow::{Context, ensure};
use regress::{TestCluster, eventually, jobs};

use crate::checks::check_rows;
use crate::survivor::beside_survivors;
use crate::{MOVE_BOUND, TABLES};

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    /// Whoever leads the metadata log.
    Leader,
    /// One of those that hold partitions or are to.
    Anyone,
    All,
}

/// The same seed, the same victims and pauses; what is going on then is up to the
/// servers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

struct Play<'a> {
    cluster: &'a TestCluster,
    dice: Dice,
}

impl Play<'_> {
    /// Has a job done, and kills while it goes on.
    fn job(&mut self, function: &str, victims: &[Victim]) -> anyhow::Result<()> {
        let cluster = self.cluster;
        let job = eventually("the job is submitted", MOVE_BOUND, || {
            Ok(Some(cluster.session(1)?.integer(&format!("SELECT {function}"))?))
        })?;
        for victim in victims {
            eventually("something moves, or all is done", MOVE_BOUND, || {
                let rows = cluster.session(1)?.rows(&format!(
                    "SELECT FROM shardman.stat_progress_move
                     UNION ALL SELECT FROM shardman.cmd_log WHERE id = {job} AND status NOT IN ('waiting', 'in progress')"
                ))?;
                Ok((!rows.is_empty()).then_some(()))
            })?;
            std::thread::sleep(Duration::from_millis(self.dice.below(800)));
            self.kill(*victim).with_context(|| format!("{victim:?}"))?;
        }
        jobs::succeeded(cluster, job).with_context(|| function.to_owned())
    }

    fn kill(&mut self, victim: Victim) -> anyhow::Result<()> {
        let count = self.cluster.count()?;
        let victims = match victim {
            Victim::All => (1..=count).collect(),
            Victim::Anyone => vec![self.dice.below(u64::from(count)) as u16 + 1],
            Victim::Leader => {
                let leader = eventually("there is a leader", MOVE_BOUND, || {
                    let session = self.cluster.session(1)?;
                    Ok(Some(session.integer("SELECT leader FROM shardman.local_raft_status()")?))
                })?;
                vec![self.cluster.node_with_id(leader)?]
            }
        };
        eprintln!("{victim:?}: node {victims:?}");
        for node in &victims {
            self.cluster.on_node("kill", *node)?;
        }
        for node in &victims {
            self.cluster.on_node("start", *node)?;
        }
        Ok(())
    }
}

/// Partitions of `line` on each node, in ascending order.
fn spread(cluster: &TestCluster) -> anyhow::Result<Vec<i64>> {
    let rows = cluster.session(1)?.rows(
        "SELECT count(p.pnum) FROM shardman.nodes AS n
              LEFT JOIN shardman.parts AS p ON p.node_id = n.id AND p.rel = 'line'::regclass
         GROUP BY n.id ORDER BY 1",
    )?;
    rows.iter().flatten().flatten().map(|count| Ok(count.parse()?)).collect()
}

/// From two nodes to four and to three.
fn grow_and_shrink(seed: u64, victims: &[[&[Victim]; 2]]) -> anyhow::Result<()> {
    let cluster = TestCluster::up(2)?;
    cluster.session(1)?.run(TABLES)?;
    beside_survivors(&cluster, &[1, 3, 4], || {
        for _ in 0..2 {
            cluster.dev(&["add"])?;
        }
        let planned =
            cluster.session(1)?.rows("SELECT part_name FROM shardman.rebalance_plan()")?;
        ensure!(planned.len() == 2, "{planned:?}");
        let mut play = Play { cluster: &cluster, dice: Dice(seed) };
        for (round, [growing, shrinking]) in victims.iter().enumerate() {
            play.job("shardman.rebalance()", growing)?;
            ensure!(spread(&cluster)? == [1, 1, 1, 1], "round {round}: {:?}", spread(&cluster));
            play.job("shardman.drain_node(2)", shrinking)?;
            ensure!(spread(&cluster)? == [0, 1, 1, 2], "round {round}: {:?}", spread(&cluster));
        }
        let removed = eventually("the node is let go", MOVE_BOUND, || {
            Ok(Some(cluster.session(1)?.integer("SELECT shardman.rm_node(2, false)")?))
        })?;
        jobs::succeeded(&cluster, removed)
    })?;
    check_rows(&cluster, &[1, 3, 4])
}

#[test]
fn a_cluster_grows_and_shrinks_while_its_servers_are_killed() -> anyhow::Result<()> {
    use Victim::{All, Anyone, Leader};
    grow_and_shrink(7, &[[&[Leader, Anyone], &[All]]])
}

#[test]
#[ignore = "takes minutes"]
fn a_cluster_grows_and_shrinks_again_and_again_while_its_servers_are_killed() -> anyhow::Result<()>
{
    use Victim::{All, Anyone, Leader};
    let round: [&[Victim]; 2] = [&[Leader, Anyone, All, Anyone], &[Anyone, All, Leader, Anyone]];
    let seed = std::env::var("SHARDMAN_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(20);
    eprintln!("SHARDMAN_TEST_SEED={seed}");
    grow_and_shrink(seed, &[round; 6])
}
