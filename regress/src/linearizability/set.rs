//! A set that only grows, read whole.

use std::collections::BTreeSet;

use super::Model;

/// A call of a set, which is empty at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Set {
    /// Put in an element.
    Add(u64),
    /// Read all elements.
    Read(BTreeSet<u64>),
}

impl Model for Set {
    type State = BTreeSet<u64>;

    fn initial() -> BTreeSet<u64> {
        BTreeSet::new()
    }

    fn apply(&self, state: &BTreeSet<u64>) -> Option<BTreeSet<u64>> {
        match self {
            Self::Add(element) => {
                let mut after = state.clone();
                after.insert(*element);
                Some(after)
            }
            Self::Read(all) => (all == state).then(|| state.clone()),
        }
    }

    fn mark(&self) -> Option<u64> {
        match self {
            Self::Add(element) => Some(*element),
            Self::Read(_) => None,
        }
    }

    fn proves(&self, mark: u64) -> bool {
        match self {
            Self::Add(_) => false,
            Self::Read(all) => all.contains(&mark),
        }
    }
}
