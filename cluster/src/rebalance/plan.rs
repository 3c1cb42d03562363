//! What to move so that nodes hold alike.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{NodeId, PartitionNumber, TableId};

/// What is to be alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The number of partitions of each group.
    Count,
    /// Bytes of all groups together.
    Size,
}

/// A colocation group as it is placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which.
    pub id: TableId,
    /// Node and bytes of each partition, by its number.
    pub partitions: Vec<(NodeId, u64)>,
}

/// One move of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMove {
    /// The group.
    pub group: TableId,
    /// Its partition.
    pub partition: PartitionNumber,
    /// Where it is.
    pub source: NodeId,
    /// Where it should be.
    pub destination: NodeId,
    /// What travels.
    pub bytes: u64,
}

/// The moves after which the nodes `stay` hold alike and every other node holds
/// nothing. No partition moves twice. By count the spread of each group is at
/// most one, with no more moves than that takes; by size each move makes two
/// nodes more alike. Empty if no node stays.
pub fn plan(groups: &[Group], stay: &[NodeId], balance: Balance) -> Vec<PlannedMove> {
    if stay.is_empty() {
        return Vec::new();
    }
    match balance {
        Balance::Count => by_count(groups, stay),
        Balance::Size => by_size(groups, stay),
    }
}

/// Which of the moves that wait to begin beside those that run: no node copies to
/// or from another twice at a time, and no more than `most` go on. The order of the
/// plan is kept as far as that goes.
pub fn choose_next(
    waiting: &[PlannedMove],
    running: &[PlannedMove],
    most: usize,
) -> Vec<PlannedMove> {
    let mut busy: Vec<(NodeId, NodeId)> =
        running.iter().map(|one| (one.source, one.destination)).collect();
    let mut chosen = Vec::new();
    for one in waiting {
        let is_apart = busy
            .iter()
            .all(|(source, destination)| (*source, *destination) != (one.source, one.destination));
        if busy.len() < most && is_apart {
            busy.push((one.source, one.destination));
            chosen.push(*one);
        }
    }
    chosen
}

fn by_count(groups: &[Group], stay: &[NodeId]) -> Vec<PlannedMove> {
    // Over all groups: it decides who gets the odd ones.
    let mut total: BTreeMap<NodeId, usize> = stay.iter().map(|node| (*node, 0)).collect();
    let mut moves = Vec::new();
    for group in groups {
        let mut held: BTreeMap<NodeId, usize> = stay.iter().map(|node| (*node, 0)).collect();
        for (node, _) in &group.partitions {
            held.entry(*node).and_modify(|count| *count += 1);
        }
        let share = group.partitions.len() / stay.len();
        let odd = group.partitions.len() % stay.len();
        let mut order: Vec<NodeId> = held.keys().copied().collect();
        // Those that hold most keep one more: nothing has to move for that.
        order.sort_by_key(|node| (std::cmp::Reverse(held[node]), total[node], *node));
        let target: BTreeMap<NodeId, usize> = order
            .iter()
            .enumerate()
            .map(|(rank, node)| (*node, share + usize::from(rank < odd)))
            .collect();
        for (number, (source, bytes)) in (0u16..).zip(&group.partitions) {
            let has_too_many = match target.get(source) {
                Some(target) => held[source] > *target,
                None => true,
            };
            if !has_too_many {
                continue;
            }
            let wants = |node: &&NodeId| held[*node] < target[*node];
            let missing = |node: &&NodeId| (target[*node] - held[*node], std::cmp::Reverse(**node));
            let Some(destination) = order.iter().filter(wants).max_by_key(missing).copied() else {
                continue;
            };
            held.entry(*source).and_modify(|count| *count -= 1);
            held.entry(destination).and_modify(|count| *count += 1);
            moves.push(PlannedMove {
                group: group.id,
                partition: PartitionNumber(number),
                source: *source,
                destination,
                bytes: *bytes,
            });
        }
        for (node, count) in held {
            total.entry(node).and_modify(|sum| *sum += count);
        }
    }
    moves
}

fn by_size(groups: &[Group], stay: &[NodeId]) -> Vec<PlannedMove> {
    let mut load: BTreeMap<NodeId, u64> = stay.iter().map(|node| (*node, 0)).collect();
    let mut settled = Vec::new();
    let mut homeless = Vec::new();
    for group in groups {
        for (number, (node, bytes)) in (0u16..).zip(&group.partitions) {
            let part = (group.id, PartitionNumber(number), *node, *bytes);
            match load.get_mut(node) {
                Some(sum) => {
                    *sum += bytes;
                    settled.push(part);
                }
                None => homeless.push(part),
            }
        }
    }
    let mut moves = Vec::new();
    let mut go = |load: &mut BTreeMap<NodeId, u64>, part, destination: NodeId| {
        let (group, partition, source, bytes) = part;
        load.entry(source).and_modify(|sum| *sum -= bytes);
        load.entry(destination).and_modify(|sum| *sum += bytes);
        moves.push(PlannedMove { group, partition, source, destination, bytes });
    };
    // The largest first, each to where there is least.
    homeless.sort_by_key(|part| (std::cmp::Reverse(part.3), part.0, part.1));
    for part in homeless {
        let Some(least) = load.keys().copied().min_by_key(|node| (load[node], *node)) else {
            break;
        };
        go(&mut load, part, least);
    }
    loop {
        let most = load.keys().copied().max_by_key(|node| (load[node], std::cmp::Reverse(*node)));
        let least = load.keys().copied().min_by_key(|node| (load[node], *node));
        let (Some(most), Some(least)) = (most, least) else { break };
        let gap = load[&most] - load[&least];
        // What brings the two closest together; smaller gaps are not worth the copy.
        let best = settled
            .iter()
            .enumerate()
            .filter(|(_, part)| part.2 == most && part.3 > 0 && part.3 < gap && part.3 >= gap / 16)
            .min_by_key(|(at, part)| ((gap / 2).abs_diff(part.3), *at));
        let Some((at, _)) = best else { break };
        let part = settled.remove(at);
        go(&mut load, part, least);
    }
    moves
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nodes(count: u32) -> Vec<NodeId> {
        (1..=count).map(NodeId).collect()
    }

    fn counts(groups: &[Group], moves: &[PlannedMove], group: usize) -> BTreeMap<NodeId, i64> {
        let mut held = BTreeMap::new();
        for (node, _) in &groups[group].partitions {
            *held.entry(*node).or_default() += 1;
        }
        for one in moves.iter().filter(|one| one.group == groups[group].id) {
            *held.entry(one.source).or_default() -= 1;
            *held.entry(one.destination).or_default() += 1;
        }
        held
    }

    #[test]
    fn a_fourth_node_takes_two_partitions_from_each_of_three() {
        let partitions = (0..24).map(|number| (NodeId(1 + number % 3), 1)).collect();
        let groups = [Group { id: TableId(1), partitions }];
        let moves = plan(&groups, &nodes(4), Balance::Count);
        assert_eq!(moves.len(), 6);
        assert!(moves.iter().all(|one| one.destination == NodeId(4)));
        assert!(counts(&groups, &moves, 0).values().all(|count| *count == 6));
    }

    #[test]
    fn moves_between_different_pairs_go_on_at_once() {
        let one = |partition, source, destination| PlannedMove {
            group: TableId(1),
            partition: PartitionNumber(partition),
            source: NodeId(source),
            destination: NodeId(destination),
            bytes: 0,
        };
        let waiting = [one(1, 1, 4), one(2, 1, 4), one(3, 2, 4), one(4, 3, 4)];
        assert_eq!(choose_next(&waiting, &[], 2), [one(1, 1, 4), one(3, 2, 4)]);
        assert_eq!(choose_next(&waiting, &[one(0, 2, 4)], 8), [one(1, 1, 4), one(4, 3, 4)]);
        assert_eq!(choose_next(&waiting, &[one(0, 2, 4)], 1), []);
    }

    #[test]
    fn what_is_balanced_stays() {
        let partitions = [3, 1, 2, 2].map(|node| (NodeId(node), 9)).to_vec();
        let groups = [Group { id: TableId(1), partitions }];
        assert_eq!(plan(&groups, &nodes(3), Balance::Count), []);
        assert_eq!(plan(&groups, &[], Balance::Count), []);
    }

    prop_compose! {
        fn any_groups()(
            groups in prop::collection::vec(prop::collection::vec((1u32..7, 0u64..1000), 0..40), 0..4),
        ) -> Vec<Group> {
            let group = |(id, partitions): (usize, Vec<(u32, u64)>)| Group {
                id: TableId(id as u64),
                partitions: partitions.into_iter().map(|(node, bytes)| (NodeId(node), bytes)).collect(),
            };
            groups.into_iter().enumerate().map(group).collect()
        }
    }

    proptest! {
        #[test]
        fn by_count_each_group_is_spread_evenly_over_those_that_stay(
            groups in any_groups(), stay in prop::collection::btree_set(1u32..8, 1..7),
        ) {
            let stay: Vec<_> = stay.into_iter().map(NodeId).collect();
            let moves = plan(&groups, &stay, Balance::Count);
            for at in 0..groups.len() {
                let held = counts(&groups, &moves, at);
                let of = |node: &NodeId| held.get(node).copied().unwrap_or(0);
                let (most, least) = (stay.iter().map(of).max().unwrap(), stay.iter().map(of).min().unwrap());
                prop_assert!(most - least <= 1, "{held:?}");
                prop_assert!(held.iter().all(|(node, count)| stay.contains(node) || *count == 0));
            }
        }

        #[test]
        fn by_count_no_plan_needs_fewer_moves(
            groups in any_groups(), stay in prop::collection::btree_set(1u32..8, 1..7),
        ) {
            let stay: Vec<_> = stay.into_iter().map(NodeId).collect();
            let moves = plan(&groups, &stay, Balance::Count);
            for (at, group) in groups.iter().enumerate() {
                // Whoever has the odd ones: what exceeds a share must go.
                let before = counts(&groups, &[], at);
                let of = |node: &NodeId| before.get(node).copied().unwrap_or(0) as usize;
                let share = group.partitions.len() / stay.len();
                let odd = group.partitions.len() % stay.len();
                let keep_more = stay.iter().filter(|node| of(node) > share).count().min(odd);
                let kept: usize = stay.iter().map(|node| of(node).min(share)).sum::<usize>() + keep_more;
                let made = moves.iter().filter(|one| one.group == group.id).count();
                prop_assert_eq!(made, group.partitions.len() - kept);
            }
        }

        #[test]
        fn no_partition_moves_twice_and_each_is_where_the_plan_says(
            groups in any_groups(), stay in prop::collection::btree_set(1u32..8, 1..7), by_size: bool,
        ) {
            let stay: Vec<_> = stay.into_iter().map(NodeId).collect();
            let moves = plan(&groups, &stay, if by_size { Balance::Size } else { Balance::Count });
            let mut seen = std::collections::BTreeSet::new();
            for one in &moves {
                prop_assert!(seen.insert((one.group, one.partition)));
                let group = groups.iter().find(|group| group.id == one.group).unwrap();
                prop_assert_eq!(group.partitions[usize::from(one.partition.0)], (one.source, one.bytes));
                prop_assert!(stay.contains(&one.destination) && one.source != one.destination);
            }
        }

        #[test]
        fn by_size_the_spread_never_grows(groups in any_groups(), count in 1u32..7) {
            let stay = nodes(6.max(count));
            let load = |moves: &[PlannedMove]| {
                let mut load: BTreeMap<NodeId, i128> = stay.iter().map(|node| (*node, 0)).collect();
                for (node, bytes) in groups.iter().flat_map(|group| &group.partitions) {
                    *load.get_mut(node).unwrap() += i128::from(*bytes);
                }
                for one in moves {
                    *load.get_mut(&one.source).unwrap() -= i128::from(one.bytes);
                    *load.get_mut(&one.destination).unwrap() += i128::from(one.bytes);
                }
                load.values().max().unwrap() - load.values().min().unwrap()
            };
            let moves = plan(&groups, &stay, Balance::Size);
            prop_assert!(load(&moves) <= load(&[]));
        }
    }
}
