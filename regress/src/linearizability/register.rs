//! A register: one value, written and read whole.

use super::Model;

/// A call of a register, which holds 0 at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Register {
    /// Wrote a value.
    Write(u64),
    /// Read this value.
    Read(u64),
    /// Found the first value and wrote the second. One that found another value
    /// is left out of a history: it has done nothing.
    Swap(u64, u64),
}

impl Model for Register {
    type State = u64;

    fn initial() -> u64 {
        0
    }

    fn apply(&self, state: &u64) -> Option<u64> {
        match self {
            Self::Write(value) => Some(*value),
            Self::Read(value) => (value == state).then_some(*state),
            Self::Swap(from, to) => (from == state).then_some(*to),
        }
    }

    fn mark(&self) -> Option<u64> {
        match self {
            // Nobody need have put in what was there at first.
            Self::Write(value) | Self::Swap(_, value) => (*value != 0).then_some(*value),
            Self::Read(_) => None,
        }
    }

    fn proves(&self, mark: u64) -> bool {
        match self {
            Self::Read(value) | Self::Swap(value, _) => *value == mark,
            Self::Write(_) => false,
        }
    }
}
