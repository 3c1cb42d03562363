//! On which nodes the partitions of a new colocation group go.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::{NodeId, PartitionNumber, TableId};

/// The node of each partition, by partition number: no node holds more than
/// one partition above another. Which node gets which is settled by rendezvous
/// hashing, so every node computes the same answer whatever the order of
/// `nodes`. Empty if there are no nodes.
pub fn place(group: TableId, num_parts: u16, nodes: &[NodeId]) -> Vec<NodeId> {
    if nodes.is_empty() {
        return Vec::new();
    }
    let share = usize::from(num_parts) / nodes.len();
    let mut extras = usize::from(num_parts) % nodes.len();
    let mut held = vec![0usize; nodes.len()];
    (0..num_parts)
        .map(|number| {
            let has_room = |at: &usize| held[*at] < share || (held[*at] == share && extras > 0);
            let score =
                |at: &usize| (rendezvous(group, PartitionNumber(number), nodes[*at]), nodes[*at]);
            let chosen = (0..nodes.len())
                .filter(has_room)
                .max_by_key(score)
                .expect("num_parts partitions fit: shares and extras add up to it");
            if held[chosen] == share {
                extras -= 1;
            }
            held[chosen] += 1;
            nodes[chosen]
        })
        .collect()
}

/// Stable for ever: a node that computes it in another version must agree.
fn rendezvous(group: TableId, partition: PartitionNumber, node: NodeId) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x7368_6172_646d_616e, 0x706c_6163_656d_656e);
    hasher.write(&group.0.to_le_bytes());
    hasher.write(&partition.0.to_le_bytes());
    hasher.write(&node.0.to_le_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_nodes_there_is_no_placement() {
        assert_eq!(place(TableId(1), 4, &[]), []);
    }

    #[test]
    fn the_answer_is_pinned() {
        // A change here would make nodes of two versions disagree.
        let nodes = [NodeId(1), NodeId(2), NodeId(3)];
        let placed: Vec<_> = place(TableId(1), 6, &nodes).iter().map(|n| n.0).collect();
        assert_eq!(placed, PINNED);
    }
    const PINNED: [u32; 6] = [2, 3, 3, 2, 1, 1];

    proptest! {
        #[test]
        fn no_node_holds_more_than_one_above_another(
            group: u64, num_parts in 1u16..=1024, node_count in 1u32..20,
        ) {
            let nodes: Vec<_> = (1..=node_count).map(NodeId).collect();
            let placed = place(TableId(group), num_parts, &nodes);
            prop_assert_eq!(placed.len(), usize::from(num_parts));
            let mut held: BTreeMap<_, _> = nodes.iter().map(|n| (*n, 0u32)).collect();
            for node in placed {
                *held.get_mut(&node).unwrap() += 1;
            }
            prop_assert!(held.values().max().unwrap() - held.values().min().unwrap() <= 1);
        }

        #[test]
        fn the_order_of_nodes_does_not_matter(group: u64, num_parts in 1u16..100, ids in prop::collection::btree_set(1u32..1000, 1..9)) {
            let nodes: Vec<_> = ids.iter().copied().map(NodeId).collect();
            let reversed: Vec<_> = nodes.iter().rev().copied().collect();
            let group = TableId(group);
            prop_assert_eq!(place(group, num_parts, &nodes), place(group, num_parts, &reversed));
        }
    }
}
