//! Which step of a move comes next.
//!
//! It follows from what is there, not from what somebody remembers to have done:
//! so a move goes on after any crash, whoever drives it, and each step may be
//! done twice.

use serde::{Deserialize, Serialize};

/// What the source has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedSource {
    /// A publication of the leaves.
    pub has_publication: bool,
    /// A replication slot that still has the changes.
    pub has_slot: bool,
}

/// What the destination has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedDestination {
    /// Tables to copy to.
    pub has_leaves: bool,
    /// Their rows, as of the copy's snapshot at least.
    pub is_copied: bool,
    /// Their indexes and their check of the partition bound.
    pub is_indexed: bool,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// All nodes know of the move.
    pub is_registered: bool,
    /// The shard map has the partition on the destination.
    pub is_there: bool,
    /// On the source.
    pub source: ObservedSource,
    /// On the destination.
    pub destination: ObservedDestination,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Tell all nodes, which from then on refuse DDL on the tables.
    Register,
    /// Give the leaves a replica identity and a publication.
    Publish,
    /// Make the slot: changes are kept from here on.
    MakeSlot,
    /// Make the tables to copy to.
    MakeLeaves,
    /// Throw the copy away: the changes since then are lost.
    Discard,
    /// Copy the rows, in one transaction.
    Copy,
    /// Make indexes, check the rows.
    MakeIndexes,
    /// Apply changes until few are left, then switch.
    CatchUp,
    /// Remove slot and publication.
    CleanUp,
    /// Nothing.
    Finish,
}

/// The next step. Steps are taken until it is [`Step::Finish`].
pub fn next_step(observed: &Observed) -> Step {
    let Observed { is_registered, is_there, source, destination } = *observed;
    if is_there {
        let is_clean = !source.has_publication && !source.has_slot && !destination.has_leaves;
        return if is_clean { Step::Finish } else { Step::CleanUp };
    }
    if !is_registered {
        return Step::Register;
    }
    if !source.has_slot && destination.is_copied {
        return Step::Discard;
    }
    if !source.has_publication {
        return Step::Publish;
    }
    if !source.has_slot {
        return Step::MakeSlot;
    }
    if !destination.has_leaves {
        return Step::MakeLeaves;
    }
    match (destination.is_copied, destination.is_indexed) {
        (false, _) => Step::Copy,
        (true, false) => Step::MakeIndexes,
        (true, true) => Step::CatchUp,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a step that succeeds leaves behind.
    fn done(step: Step, o: &mut Observed) {
        match step {
            Step::Register => o.is_registered = true,
            Step::Publish => o.source.has_publication = true,
            Step::MakeSlot => o.source.has_slot = true,
            Step::MakeLeaves => {
                o.destination = ObservedDestination { has_leaves: true, ..Default::default() };
            }
            Step::Discard => o.destination = ObservedDestination::default(),
            Step::Copy => o.destination.is_copied = true,
            Step::MakeIndexes => o.destination.is_indexed = true,
            Step::CatchUp => {
                o.is_there = true;
                o.is_registered = false;
                o.destination = ObservedDestination::default();
            }
            Step::CleanUp => {
                o.source = ObservedSource::default();
                o.destination = ObservedDestination::default();
            }
            Step::Finish => {}
        }
    }

    prop_compose! {
        fn anything()(bits in prop::array::uniform7(any::<bool>())) -> Observed {
            let [is_registered, is_there, has_publication, has_slot, has_leaves, is_copied, is_indexed] = bits;
            Observed {
                is_registered,
                is_there,
                source: ObservedSource { has_publication, has_slot },
                destination: ObservedDestination {
                    has_leaves,
                    is_copied: has_leaves && is_copied,
                    is_indexed: has_leaves && is_indexed,
                },
            }
        }
    }

    proptest! {
        #[test]
        fn from_anything_found_a_move_ends_there_and_leaves_nothing(mut observed in anything()) {
            for _ in 0..12 {
                let step = next_step(&observed);
                done(step, &mut observed);
            }
            prop_assert_eq!(observed, Observed { is_there: true, is_registered: observed.is_registered, ..Default::default() });
        }

        #[test]
        fn nothing_is_switched_without_a_copy_and_the_changes_since(observed in anything()) {
            if next_step(&observed) == Step::CatchUp {
                prop_assert!(observed.source.has_slot && observed.destination.is_copied);
            }
        }
    }

    #[test]
    fn a_copy_is_begun_only_after_its_slot() {
        let mut observed = Observed::default();
        let mut steps = Vec::new();
        while steps.last() != Some(&Step::Finish) {
            let step = next_step(&observed);
            done(step, &mut observed);
            steps.push(step);
        }
        assert_eq!(
            steps,
            [
                Step::Register,
                Step::Publish,
                Step::MakeSlot,
                Step::MakeLeaves,
                Step::Copy,
                Step::MakeIndexes,
                Step::CatchUp,
                Step::CleanUp,
                Step::Finish,
            ]
        );
    }
}
