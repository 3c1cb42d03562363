//! A counter: one more at a time.

use super::Model;

/// A call of a counter, which holds 0 at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Counted one more, and was told the sum if it was answered.
    Add(Option<i64>),
    /// Read the sum.
    Read(i64),
}

impl Model for Counter {
    type State = i64;

    fn initial() -> i64 {
        0
    }

    fn apply(&self, state: &i64) -> Option<i64> {
        match self {
            Self::Add(told) => {
                let after = state + 1;
                told.is_none_or(|sum| sum == after).then_some(after)
            }
            Self::Read(sum) => (sum == state).then_some(*state),
        }
    }

    fn mark(&self) -> Option<u64> {
        None
    }

    fn proves(&self, _mark: u64) -> bool {
        false
    }
}
