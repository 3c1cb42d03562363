//! From a history to its anomalies, and which of them a level forbids.

use std::collections::HashMap;

use super::dependencies::Dependencies;
use super::lists::Lists;
use super::{Anomaly, Op, Outcome, Transaction, cycles};

/// What a history is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// READ COMMITTED over all nodes.
    ReadCommitted,
    /// REPEATABLE READ with one snapshot of all nodes: snapshot isolation.
    Snapshot,
}

/// Everything that is wrong with a history. `last` is what was in the lists in
/// the end, read when nothing was going on any more.
pub fn anomalies(history: &[Transaction], last: &HashMap<u32, Vec<u64>>) -> Vec<Anomaly> {
    let stale = stale_reads(history);
    let mut history = history.to_vec();
    let end = history.iter().map(|it| it.time.1).max().unwrap_or(0) + 1;
    let ops = last.iter().map(|(key, list)| Op::Read { key: *key, list: list.clone() });
    let outcome = Outcome::Committed;
    history.push(Transaction { ops: ops.collect(), outcome, time: (end, end) });
    let lists = Lists::of(&history);
    let mut found = lists.anomalies.clone();
    found.extend(lost_appends(&history, last));
    found.extend(lost_updates(&lists));
    found.extend(cycles::find(&Dependencies::of(&lists, history.len())));
    found.extend(stale);
    found
}

/// Those that a level forbids. Reads that are late in real time are none: while
/// a participant is away, what a commit wrote there is not seen yet.
pub fn violations(anomalies: Vec<Anomaly>, level: Level) -> Vec<Anomaly> {
    let is_forbidden = |anomaly: &Anomaly| match anomaly {
        Anomaly::Stale { .. } => false,
        Anomaly::LostUpdate { .. } | Anomaly::GSingle(_) | Anomaly::LongFork(_) => {
            level == Level::Snapshot
        }
        _ => true,
    };
    anomalies.into_iter().filter(is_forbidden).collect()
}

fn appends(transaction: &Transaction) -> impl Iterator<Item = (u32, u64)> {
    transaction.ops.iter().filter_map(|op| match op {
        Op::Append { key, value } => Some((*key, *value)),
        Op::Read { .. } => None,
    })
}

/// All or nothing: of a transaction without an answer all is there or nothing.
fn lost_appends(history: &[Transaction], last: &HashMap<u32, Vec<u64>>) -> Vec<Anomaly> {
    let is_there = |key, value| last.get(&key).is_some_and(|list| list.contains(&value));
    let mut lost = Vec::new();
    for (writer, transaction) in history.iter().enumerate() {
        let must_be_there = match transaction.outcome {
            Outcome::Committed => true,
            Outcome::Unknown => appends(transaction).any(|(key, value)| is_there(key, value)),
            Outcome::Aborted => false,
        };
        if must_be_there {
            let missing = appends(transaction).filter(|(key, value)| !is_there(*key, *value));
            lost.extend(missing.map(|(_, value)| Anomaly::LostAppend { writer, value }));
        }
    }
    lost
}

fn lost_updates(lists: &Lists) -> Vec<Anomaly> {
    let mut first: HashMap<(u32, &[u64]), usize> = HashMap::new();
    let mut lost = Vec::new();
    let mut reads: Vec<_> = lists.read.iter().collect();
    reads.sort();
    for ((id, key), list) in reads {
        if !lists.appended.contains_key(&(*id, *key)) {
            continue;
        }
        if let Some(other) = first.insert((*key, list), *id) {
            lost.push(Anomaly::LostUpdate { key: *key, writers: (other, *id) });
        }
    }
    lost
}

fn stale_reads(history: &[Transaction]) -> Vec<Anomaly> {
    let mut stale = Vec::new();
    for (reader, transaction) in history.iter().enumerate() {
        if transaction.outcome != Outcome::Committed {
            continue;
        }
        for op in &transaction.ops {
            let Op::Read { key, list } = op else { continue };
            for (writer, other) in history.iter().enumerate() {
                let is_before =
                    other.outcome == Outcome::Committed && other.time.1 < transaction.time.0;
                let is_missed = |(its_key, value)| its_key == *key && !list.contains(&value);
                if is_before && appends(other).any(is_missed) {
                    stale.push(Anomaly::Stale { writer, reader });
                }
            }
        }
    }
    stale
}
