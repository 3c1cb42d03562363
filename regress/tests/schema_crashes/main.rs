//! Crashes while the schema changes: whatever goes wrong at whatever step, the
//! change is on every node or on none, as the client was told if it was told
//! anything, rows of the same transaction with it, and nothing stays prepared.

mod case;
mod stage;

use case::Case;
use stage::Stage;

fn run(cases: &[Case]) -> anyhow::Result<()> {
    let mut stage = Stage::set_up()?;
    stage.meet_a_busy_part()?;
    let mut failures = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        match stage.run(number, *case) {
            Ok(told) => println!("{case:?}: told {told:?}"),
            Err(error) => {
                println!("{case:?}: FAILED: {error:#}");
                failures.push(format!("{case:?}: {error:#}"));
                // What it left may hang over the next ones.
                stage = Stage::set_up()?;
            }
        }
    }
    anyhow::ensure!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}

#[test]
fn the_sample_is_of_cases_that_can_happen() {
    let all = case::all();
    assert!(case::sample().iter().all(|case| all.contains(case)));
}

#[test]
fn a_schema_change_is_everywhere_or_nowhere_in_a_sample_of_crashes() -> anyhow::Result<()> {
    run(&case::sample())
}

#[test]
#[ignore = "takes many minutes"]
fn a_schema_change_is_everywhere_or_nowhere_in_every_crash() -> anyhow::Result<()> {
    run(&case::all())
}
