//! Generated statements over generated tables: a cluster and one PostgreSQL
//! give the same rows and the same errors.
//!
//! `SHARDMAN_RANDOM_SEED=n` runs that seed alone.

use std::time::{Duration, Instant};

use anyhow::Context;
use regress::random::{explore, explore_foreign};
use regress::{Shape, TestCluster};

const STATEMENTS_PER_SEED: usize = 60;
/// The seeds of every run, and how long they may take.
const FIXED: std::ops::Range<u64> = 1..25;
const FIXED_BOUND: Duration = Duration::from_secs(60);
/// For the long test; `SHARDMAN_RANDOM_SECONDS` says otherwise.
const LONG_SECONDS: u64 = 3600;

fn number(name: &str) -> anyhow::Result<Option<u64>> {
    let Ok(text) = std::env::var(name) else { return Ok(None) };
    Ok(Some(text.parse().with_context(|| format!("{name} is no number: {text}"))?))
}

#[test]
fn generated_statements_mean_the_same_on_a_cluster() -> anyhow::Result<()> {
    let seeds = match number("SHARDMAN_RANDOM_SEED")? {
        Some(seed) => seed..seed + 1,
        None => FIXED,
    };
    let (cluster, plain) = (TestCluster::up(3)?, TestCluster::plain()?);
    let start = Instant::now();
    explore(&cluster, &plain, seeds.start, STATEMENTS_PER_SEED, |seed| {
        seeds.contains(&seed) && start.elapsed() < FIXED_BOUND
    })
}

/// The first server has the extension, the second knows nothing of it.
fn strangers() -> anyhow::Result<TestCluster> {
    let servers = TestCluster::start(&Shape { nodes: 2, is_plain: true, config: &[] })?;
    servers.session(1)?.run("ALTER SYSTEM SET shared_preload_libraries = 'shardman'")?;
    servers.on_node("stop", 1)?;
    servers.on_node("start", 1)?;
    Ok(servers)
}

#[test]
fn generated_queries_mean_the_same_on_foreign_tables() -> anyhow::Result<()> {
    let seeds = match number("SHARDMAN_RANDOM_SEED")? {
        Some(seed) => seed..seed + 1,
        None => FIXED,
    };
    let servers = strangers()?;
    let start = Instant::now();
    explore_foreign(&servers, seeds.start, STATEMENTS_PER_SEED, |seed| {
        seeds.contains(&seed) && start.elapsed() < FIXED_BOUND / 2
    })
}

#[test]
#[ignore = "takes an hour: other seeds each time"]
fn more_generated_queries_mean_the_same_on_foreign_tables() -> anyhow::Result<()> {
    let bound = Duration::from_secs(number("SHARDMAN_RANDOM_SECONDS")?.unwrap_or(LONG_SECONDS));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let servers = strangers()?;
    let start = Instant::now();
    explore_foreign(&servers, now.as_secs() * 1000, STATEMENTS_PER_SEED, |_| {
        start.elapsed() < bound
    })
}

#[test]
#[ignore = "takes an hour: other seeds each time"]
fn more_generated_statements_mean_the_same_on_a_cluster() -> anyhow::Result<()> {
    let bound = Duration::from_secs(number("SHARDMAN_RANDOM_SECONDS")?.unwrap_or(LONG_SECONDS));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let (cluster, plain) = (TestCluster::up(3)?, TestCluster::plain()?);
    let start = Instant::now();
    explore(&cluster, &plain, now.as_secs() * 1000, STATEMENTS_PER_SEED, |_| {
        start.elapsed() < bound
    })
}
