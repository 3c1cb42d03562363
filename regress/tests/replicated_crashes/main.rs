//! A transaction writes a replicated table, and at each of its messages a node
//! is killed, stands still, or loses the connection. Whatever it is, copies are
//! equal afterwards, the transaction is there as its client was told, and all
//! nodes write the table.

mod case;
mod stage;

use case::Case;
use stage::Stage;

/// Runs fewer of all cases: those whose name, as it is printed, has this in it.
const ONLY: &str = "CRASH_CASES";

fn run(cases: &[Case]) -> anyhow::Result<()> {
    let stage = Stage::set_up()?;
    for (number, case) in (1..).zip(cases) {
        let told = stage.run(number, *case).map_err(|error| error.context(format!("{case:?}")))?;
        println!("{case:?}: {told:?}");
    }
    Ok(())
}

#[test]
fn copies_stay_equal_in_a_sample_of_crashes() -> anyhow::Result<()> {
    run(&case::sample())
}

#[test]
#[ignore = "takes minutes"]
fn copies_stay_equal_in_every_crash() -> anyhow::Result<()> {
    let mut cases = case::all();
    if let Ok(only) = std::env::var(ONLY) {
        cases.retain(|case| format!("{case:?}").contains(&only));
        anyhow::ensure!(!cases.is_empty(), "no case has \"{only}\" in its name");
    }
    run(&cases)
}
