//! What an object does when nobody else uses it.

use std::fmt::Debug;
use std::hash::Hash;

/// A sort of object. A value of the implementing type is a call with what it
/// was answered, if it was.
pub trait Model: Clone + Eq + Debug {
    /// What the object holds.
    type State: Clone + Eq + Hash + Debug;

    /// What it holds at first.
    fn initial() -> Self::State;

    /// What it holds after this call; none if it would have answered otherwise.
    fn apply(&self, state: &Self::State) -> Option<Self::State>;

    /// A value that this call puts into the object, if it does, and that says
    /// who put it there as long as no other call puts in the same.
    fn mark(&self) -> Option<u64>;

    /// Whether this call can only be answered so, or can only have an effect, if
    /// the call with that mark has happened.
    fn proves(&self, mark: u64) -> bool;
}
