//! Generated schema changes and changes of rows: sharded tables, through any
//! node, give the rows, counts and errors of plain ones, and look like them to
//! tools. What differs is listed in docs/differences.md.
//!
//! `SHARDMAN_RANDOM_SEED=n` runs that seed alone.

use std::time::{Duration, Instant};

use anyhow::Context;
use regress::TestCluster;
use regress::random::compare_with_plain;

const STATEMENTS_PER_SEED: usize = 40;
const FIXED: std::ops::Range<u64> = 1..13;
const FIXED_BOUND: Duration = Duration::from_secs(60);

#[test]
fn sharded_tables_are_like_plain_ones_whatever_is_done_to_them() -> anyhow::Result<()> {
    let seeds = match std::env::var("SHARDMAN_RANDOM_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().with_context(|| format!("no number: {seed}"))?;
            seed..seed + 1
        }
        Err(_) => FIXED,
    };
    let (cluster, plain) = (TestCluster::up(3)?, TestCluster::plain()?);
    let start = Instant::now();
    compare_with_plain(&cluster, &plain, seeds.start, STATEMENTS_PER_SEED, |seed| {
        seeds.contains(&seed) && start.elapsed() < FIXED_BOUND
    })
}
