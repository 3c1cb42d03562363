//! Raft under a seed: messages are lost, delayed, reordered and repeated, nodes
//! are cut off, crash at any write of their disk and come back; then everything
//! is healed and all of them must have done the same.
//!
//! Time stands still but for what is waited for, one thread runs everything and
//! all chance comes from the seed, so the same seed gives the same run:
//! `SIMULATION_SEED=n` runs one, `SIMULATION_SEEDS=n` that many.
//!
//! What is simulated is the network and the disk; openraft, the state machine of
//! the metadata log and the order of what is written are the real ones. The
//! disk's contract is that of our store: what it acknowledged survives a crash,
//! what it did not may or may not.

mod check;
mod clients;
mod disk;
mod machine;
mod network;
mod runtime;
mod world;

use world::World;

const SEEDS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs one seed; returns what was applied, in order, and how often it crashed.
fn run(seed: u64) -> (String, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime::seed(seed);
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(async {
            let world = World::new();
            world.live().await;
            world.heal_and_compare().await
        })
    }));
    match ran {
        Ok(told) => told,
        Err(panic) => {
            eprintln!("the seed was {seed}: run it alone with SIMULATION_SEED={seed}");
            std::panic::resume_unwind(panic)
        }
    }
}

#[test]
fn whatever_happens_all_nodes_end_equal_and_no_token_is_honoured_twice() {
    if let Some(seed) = number("SIMULATION_SEED") {
        let (history, crashes) = run(seed);
        println!("{history}{crashes} crashes");
        return;
    }
    let (mut crashes, mut entries) = (0, 0);
    for seed in 0..number("SIMULATION_SEEDS").unwrap_or(SEEDS) {
        let (history, crashed) = run(seed);
        crashes += crashed;
        entries += history.lines().count();
    }
    // A simulation in which nothing happens proves nothing.
    assert!(crashes > 0 && entries > 0);
    println!("{entries} entries, {crashes} crashes");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 14, 159] {
        assert!(run(seed) == run(seed), "seed {seed}");
    }
    assert!(run(26).0 != run(53).0, "the seed has no effect");
}
