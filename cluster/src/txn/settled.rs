//! When a decision has done its work and can be forgotten.

use std::collections::{BTreeMap, BTreeSet};

use super::TransactionName;
use crate::NodeId;

/// What nodes said is prepared there, in one look at all of them. Nodes that did
/// not answer are missing.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    prepared: BTreeMap<NodeId, BTreeSet<TransactionName>>,
}

impl Listing {
    /// Notes what a node answered.
    pub fn note(&mut self, node: NodeId, prepared: impl IntoIterator<Item = TransactionName>) {
        self.prepared.insert(node, prepared.into_iter().collect());
    }

    /// Whether a node answered.
    pub fn has(&self, node: NodeId) -> bool {
        self.prepared.contains_key(&node)
    }

    /// Whether nobody has a part of a transaction prepared any more, so that its
    /// decision can be forgotten. The decision must have been visible before the
    /// look began. Participants that are no members any more do not count.
    pub fn settles(
        &self,
        transaction: TransactionName,
        participants: &[NodeId],
        is_member: impl Fn(NodeId) -> bool,
    ) -> bool {
        participants.iter().filter(|node| is_member(**node)).all(|node| {
            self.prepared.get(node).is_some_and(|prepared| !prepared.contains(&transaction))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::txn::Life;

    fn transaction(xid: u64) -> TransactionName {
        TransactionName { coordinator: NodeId(1), life: Life(1), xid }
    }

    #[test]
    fn a_decision_is_kept_while_any_participant_is_prepared_or_silent() {
        let both = [NodeId(2), NodeId(3)];
        let mut listing = Listing::default();
        listing.note(NodeId(2), [transaction(5)]);
        listing.note(NodeId(3), []);
        assert!(!listing.settles(transaction(5), &both, |_| true));
        assert!(listing.settles(transaction(4), &both, |_| true));
        assert!(listing.settles(transaction(5), &both[1..], |_| true));
        assert!(!listing.settles(transaction(4), &[NodeId(3), NodeId(4)], |_| true));
        assert!(listing.settles(transaction(4), &[NodeId(3), NodeId(4)], |node| node.0 != 4));
    }

    #[test]
    fn the_same_id_in_another_life_is_another_transaction() {
        let mut listing = Listing::default();
        listing.note(NodeId(2), [transaction(5)]);
        let later = TransactionName { life: Life(2), ..transaction(5) };
        assert!(listing.settles(later, &[NodeId(2)], |_| true));
    }
}
