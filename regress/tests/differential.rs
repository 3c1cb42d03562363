//! Generated schema changes and changes of rows: sharded tables, through any
//! node, give the rows, counts and errors of plain ones, and look like them to
//! tools. What differs is listed in docs/differences.md.
//!
//! `SHARDMAN_RANDOM_SEED=n` runs that seed alone, or with `SHARDMAN_RANDOM_COUNT=m`
//! as many from there; `SHARDMAN_RANDOM_FAILURES=1` shows what fails on both sides.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use regress::TestCluster;
use regress::random::compare_with_plain;

const STATEMENTS_PER_SEED: usize = 40;
const FIXED: std::ops::Range<u64> = 1..13;
const FIXED_BOUND: Duration = Duration::from_secs(25);
const LONG: Duration = Duration::from_secs(1800);

#[test]
fn sharded_tables_are_like_plain_ones_whatever_is_done_to_them() -> anyhow::Result<()> {
    let (seeds, bound) = match std::env::var("SHARDMAN_RANDOM_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().with_context(|| format!("no number: {seed}"))?;
            let count = std::env::var("SHARDMAN_RANDOM_COUNT").ok();
            let count = count.and_then(|count| count.parse().ok()).unwrap_or(1);
            (seed..seed + count, Duration::MAX)
        }
        Err(_) => (FIXED, FIXED_BOUND),
    };
    let (cluster, plain) = (TestCluster::up(3)?, TestCluster::plain()?);
    let start = Instant::now();
    let tally = compare_with_plain(&cluster, &plain, seeds.start, STATEMENTS_PER_SEED, |seed| {
        seeds.contains(&seed) && start.elapsed() < bound
    })?;
    println!("{} of {} statements succeeded", tally.succeeded, tally.drawn);
    // Errors on both sides prove little.
    ensure!(tally.succeeded * 100 >= tally.drawn * 85, "few statements succeed: {tally:?}");
    Ok(())
}

#[test]
#[ignore = "takes half an hour: other seeds each time"]
fn more_is_done_to_tables_that_are_like_plain_ones() -> anyhow::Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let (cluster, plain) = (TestCluster::up(3)?, TestCluster::plain()?);
    let start = Instant::now();
    compare_with_plain(&cluster, &plain, now.as_secs() * 1000, STATEMENTS_PER_SEED, |_| {
        start.elapsed() < LONG
    })?;
    Ok(())
}
