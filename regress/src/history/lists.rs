//! Lists: who appended what, in which order, and reads that make no sense.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Anomaly, Op, Outcome, Transaction};

/// What the lists of a history tell.
pub struct Lists {
    /// Of each key the longest list that was read.
    pub order: BTreeMap<u32, Vec<u64>>,
    /// Who appended a value.
    pub writer: HashMap<u64, usize>,
    /// Of each transaction and key the values that it appended, in order.
    pub appended: HashMap<(usize, u32), Vec<u64>>,
    /// Of each committed transaction and key the first list that it read,
    /// without its own appends.
    pub read: HashMap<(usize, u32), Vec<u64>>,
    /// Every reader with the last value of others that it read in a list.
    pub sources: Vec<(usize, u64)>,
    /// What is wrong already.
    pub anomalies: Vec<Anomaly>,
}

impl Lists {
    /// Goes through a history. Reads of transactions that are not committed are
    /// not judged.
    pub fn of(history: &[Transaction]) -> Self {
        let mut lists = Self {
            order: BTreeMap::new(),
            writer: HashMap::new(),
            appended: HashMap::new(),
            read: HashMap::new(),
            sources: Vec::new(),
            anomalies: Vec::new(),
        };
        for (id, transaction) in history.iter().enumerate() {
            for op in &transaction.ops {
                if let Op::Append { key, value } = op {
                    lists.writer.insert(*value, id);
                    lists.appended.entry((id, *key)).or_default().push(*value);
                }
            }
        }
        for (id, transaction) in history.iter().enumerate() {
            if transaction.outcome == Outcome::Committed {
                lists.take_reads(id, transaction, history);
            }
        }
        lists
    }

    fn take_reads(&mut self, id: usize, transaction: &Transaction, history: &[Transaction]) {
        let mut own: HashMap<u32, Vec<u64>> = HashMap::new();
        for op in &transaction.ops {
            match op {
                Op::Append { key, value } => own.entry(*key).or_default().push(*value),
                Op::Read { key, list } => {
                    let mine = own.get(key).map_or(&[][..], Vec::as_slice);
                    let Some(before) = list.strip_suffix(mine) else {
                        self.anomalies.push(Anomaly::Internal { reader: id, key: *key });
                        continue;
                    };
                    self.judge_values(id, *key, before, history);
                    self.take_order(*key, list);
                    self.sources.extend(before.last().map(|value| (id, *value)));
                    self.read.entry((id, *key)).or_insert_with(|| before.to_vec());
                }
            }
        }
    }

    fn judge_values(&mut self, id: usize, key: u32, list: &[u64], history: &[Transaction]) {
        let mut seen = HashSet::new();
        for value in list {
            match self.writer.get(value) {
                Some(writer) if seen.insert(*value) && *writer != id => {
                    if history[*writer].outcome == Outcome::Aborted {
                        self.anomalies.push(Anomaly::G1a { writer: *writer, reader: id });
                    }
                }
                _ => self.anomalies.push(Anomaly::Garbage { reader: id, value: *value }),
            }
        }
        // The last value's writer must have appended all that it did.
        if let Some(last) = list.last()
            && let Some(writer) = self.writer.get(last)
            && *writer != id
            && self.appended[&(*writer, key)].last() != Some(last)
        {
            self.anomalies.push(Anomaly::G1b { writer: *writer, reader: id });
        }
    }

    fn take_order(&mut self, key: u32, list: &[u64]) {
        let order = self.order.entry(key).or_default();
        let shorter = order.len().min(list.len());
        if order[..shorter] != list[..shorter] {
            let anomaly = Anomaly::IncompatibleOrder { key };
            if !self.anomalies.contains(&anomaly) {
                self.anomalies.push(anomaly);
            }
        } else if list.len() > order.len() {
            *order = list.to_vec();
        }
    }
}
