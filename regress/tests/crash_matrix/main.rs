//! The crash matrix of distributed commit: at every boundary between messages,
//! everything that can go wrong goes wrong. Whatever it is, the transaction is
//! there on all nodes or on none, as the client was told if it was told
//! anything, and nothing stays prepared.

mod boundary;
mod fault;
mod stage;

use boundary::Boundary;
use fault::Fault;
use stage::Stage;

/// Runs fewer of all cases: those whose name, as it is printed, has this in it.
const ONLY: &str = "CRASH_CASES";

/// Every case that can happen.
fn all_cases() -> Vec<(Boundary, Fault)> {
    let cases = |boundary: Boundary| {
        let faults = Fault::ALL.iter().filter(move |fault| boundary.allows(**fault));
        faults.map(move |fault| (boundary, *fault))
    };
    Boundary::all().into_iter().flat_map(cases).collect()
}

/// A few: every fault and every sort of boundary at least once.
fn sample() -> Vec<(Boundary, Fault)> {
    let fault_of = |number: usize, boundary: Boundary| {
        let faults: Vec<_> = Fault::ALL.iter().filter(|fault| boundary.allows(**fault)).collect();
        (boundary, *faults[number * 3 % faults.len()])
    };
    let boundaries = Boundary::all().into_iter().filter(|boundary| boundary.is_in_sample());
    boundaries.enumerate().map(|(n, boundary)| fault_of(n, boundary)).collect()
}

fn run(cases: &[(Boundary, Fault)]) -> anyhow::Result<()> {
    let stage = Stage::set_up()?;
    let mut failures = Vec::new();
    for (number, (boundary, fault)) in cases.iter().enumerate() {
        let outcome = stage.run(number, *boundary, *fault);
        match outcome {
            Ok(told) => println!("{boundary:?}, {fault:?}: {told}"),
            Err(error) => {
                println!("{boundary:?}, {fault:?}: FAILED: {error:#}");
                failures.push(format!("{boundary:?}, {fault:?}: {error:#}"));
                stage.clean_up()?;
            }
        }
    }
    stage.check_that_decisions_are_forgotten()?;
    anyhow::ensure!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}

#[test]
fn the_sample_has_every_fault() {
    let sample = sample();
    for fault in Fault::ALL {
        assert!(sample.iter().any(|(_, there)| there == fault), "{fault:?}");
    }
}

#[test]
fn commit_is_atomic_in_a_sample_of_crashes() -> anyhow::Result<()> {
    run(&sample())
}

#[test]
#[ignore = "takes minutes"]
fn commit_is_atomic_in_every_crash() -> anyhow::Result<()> {
    let mut cases = all_cases();
    if let Ok(only) = std::env::var(ONLY) {
        cases.retain(|(boundary, fault)| format!("{boundary:?}, {fault:?}").contains(&only));
        anyhow::ensure!(!cases.is_empty(), "no case has \"{only}\" in its name");
    }
    run(&cases)
}
