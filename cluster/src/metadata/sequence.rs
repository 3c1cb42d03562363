//! Ranges of sequences: which values the cluster has handed out.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a sequence counts through, as its nodes have it in their catalogues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceBounds {
    /// The first value of all.
    pub first: i64,
    /// Never 0.
    pub increment: i64,
    /// The smallest value.
    pub min: i64,
    /// The largest value.
    pub max: i64,
    /// Whether it begins again at its end.
    pub cycle: bool,
}

/// Values for one node alone: `first`, `first + increment`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceBlock {
    /// The first of them.
    pub first: i64,
    /// How many; 0 only as the answer to a set sequence that is at its end.
    pub count: u32,
}

/// Why there is no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("the sequence is at its end")]
pub struct Exhausted;

/// What the metadata log knows of one sequence: the next value that no node
/// has got; `None` once there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SequencePosition(Option<i64>);

impl SequenceBounds {
    /// How many values there are.
    fn len(&self) -> u128 {
        // Both differences fit: i64 subtracted in i128.
        let span = i128::from(self.max) - i128::from(self.min);
        span.unsigned_abs() / i128::from(self.increment).unsigned_abs().max(1) + 1
    }

    /// How many values a node takes at a time unless a user says otherwise:
    /// 65536, less where that would use up a sequence by a few restarts of
    /// nodes, since a restart gives up what is left of a block.
    pub fn default_block_size(&self) -> u32 {
        let values = self.len();
        let least = (values / 2048).clamp(1, 16);
        let size = (values / 524_288).clamp(least, 65_536);
        u32::try_from(size).unwrap_or(65_536)
    }

    /// The value after `value`, if it is within bounds.
    pub fn after(&self, value: i64) -> Option<i64> {
        value.checked_add(self.increment).filter(|next| self.contains(*next))
    }

    /// Whether a value lies between the bounds.
    pub fn contains(&self, value: i64) -> bool {
        (self.min..=self.max).contains(&value)
    }

    /// Where a cycle begins.
    fn beginning(&self) -> i64 {
        if self.increment > 0 { self.min } else { self.max }
    }

    /// How many values there are from `first` on, up to `wanted`.
    fn count_from(&self, first: i64, wanted: u32) -> u32 {
        let end = if self.increment > 0 { self.max } else { self.min };
        let span = (i128::from(end) - i128::from(first)).unsigned_abs();
        let left = span / i128::from(self.increment).unsigned_abs().max(1) + 1;
        u32::try_from(left).unwrap_or(u32::MAX).min(wanted.max(1))
    }
}

impl SequencePosition {
    /// Where a sequence stands that nobody has asked about yet.
    pub fn at_start(bounds: &SequenceBounds) -> Self {
        SequencePosition(Some(bounds.first))
    }

    /// Puts the sequence where `next` is the next value; `None` is its end.
    pub fn set(&mut self, next: Option<i64>) {
        self.0 = next;
    }

    /// Takes up to `wanted` values, at least one.
    pub fn take(
        &mut self,
        bounds: &SequenceBounds,
        wanted: u32,
    ) -> Result<SequenceBlock, Exhausted> {
        // A change of bounds may have left the position outside.
        let next = self.0.filter(|next| bounds.contains(*next));
        let first = match next {
            Some(next) => next,
            None if bounds.cycle => bounds.beginning(),
            None => return Err(Exhausted),
        };
        let count = bounds.count_from(first, wanted);
        let last = i128::from(first) + i128::from(bounds.increment) * i128::from(count - 1);
        self.0 = i64::try_from(last).ok().and_then(|last| bounds.after(last));
        Ok(SequenceBlock { first, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(max: i64) -> SequenceBounds {
        SequenceBounds { first: 1, increment: 1, min: 1, max, cycle: false }
    }

    fn block(first: i64, count: u32) -> Result<SequenceBlock, Exhausted> {
        Ok(SequenceBlock { first, count })
    }

    #[test]
    fn blocks_follow_each_other_and_the_last_one_is_short() {
        let bounds = up(25);
        let mut position = SequencePosition::at_start(&bounds);
        assert_eq!(position.take(&bounds, 10), block(1, 10));
        assert_eq!(position.take(&bounds, 10), block(11, 10));
        assert_eq!(position.take(&bounds, 10), block(21, 5));
        assert_eq!(position.take(&bounds, 10), Err(Exhausted));
    }

    #[test]
    fn a_cycle_begins_at_the_bound_and_not_at_the_start() {
        let bounds = SequenceBounds { first: 8, min: 5, cycle: true, ..up(10) };
        let mut position = SequencePosition::at_start(&bounds);
        assert_eq!(position.take(&bounds, 10), block(8, 3));
        assert_eq!(position.take(&bounds, 10), block(5, 6));
    }

    #[test]
    fn steps_and_descent_are_counted_in_values() {
        let down = SequenceBounds { first: -1, increment: -5, min: -20, max: -1, cycle: false };
        let mut position = SequencePosition::at_start(&down);
        assert_eq!(position.take(&down, 2), block(-1, 2));
        assert_eq!(position.take(&down, 9), block(-11, 2));
        assert_eq!(position.take(&down, 9), Err(Exhausted));
    }

    #[test]
    fn the_ends_of_bigint_do_not_overflow() {
        let bounds = SequenceBounds { first: i64::MAX - 3, ..up(i64::MAX) };
        let mut position = SequencePosition::at_start(&bounds);
        assert_eq!(position.take(&bounds, 65_536), block(i64::MAX - 3, 4));
        assert_eq!(position.take(&bounds, 1), Err(Exhausted));
        let whole = SequenceBounds { first: i64::MIN, min: i64::MIN, ..up(i64::MAX) };
        let mut position = SequencePosition::at_start(&whole);
        assert_eq!(position.take(&whole, 7), block(i64::MIN, 7));
        assert_eq!(whole.default_block_size(), 65_536);
    }

    #[test]
    fn a_set_sequence_goes_on_from_there() {
        let bounds = up(100);
        let mut position = SequencePosition::at_start(&bounds);
        position.take(&bounds, 10).unwrap();
        position.set(Some(50));
        assert_eq!(position.take(&bounds, 10), block(50, 10));
        position.set(None);
        assert_eq!(position.take(&bounds, 10), Err(Exhausted));
    }

    #[test]
    fn small_types_are_given_in_small_blocks() {
        assert_eq!(up(i64::MAX).default_block_size(), 65_536);
        assert_eq!(up(i64::from(i32::MAX)).default_block_size(), 4095);
        assert_eq!(up(i64::from(i16::MAX)).default_block_size(), 15);
        assert_eq!(up(100).default_block_size(), 1);
    }
}
