//! Which transaction came before which.

use std::collections::BTreeSet;

use super::lists::Lists;

/// Why one came before the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It wrote what the other wrote over.
    Write,
    /// It wrote what the other read.
    Read,
    /// It read what the other wrote over.
    Anti,
}

/// Edges by their origin.
pub struct Dependencies {
    edges: Vec<BTreeSet<(usize, Kind)>>,
}

impl Dependencies {
    /// Of a history of `count` transactions.
    pub fn of(lists: &Lists, count: usize) -> Self {
        let mut dependencies = Self { edges: vec![BTreeSet::new(); count] };
        for order in lists.order.values() {
            let writers: Vec<_> =
                order.iter().filter_map(|value| lists.writer.get(value).copied()).collect();
            for pair in writers.windows(2) {
                dependencies.add(pair[0], pair[1], Kind::Write);
            }
        }
        for (reader, value) in &lists.sources {
            if let Some(writer) = lists.writer.get(value) {
                dependencies.add(*writer, *reader, Kind::Read);
            }
        }
        for ((reader, key), list) in &lists.read {
            // The first that came after what was read, and is not the reader's own.
            let order = lists.order.get(key).map_or(&[][..], Vec::as_slice);
            let later = order.get(list.len()..).unwrap_or_default();
            let next = later.iter().filter_map(|value| lists.writer.get(value));
            if let Some(writer) = next.copied().find(|writer| writer != reader) {
                dependencies.add(*reader, writer, Kind::Anti);
            }
        }
        dependencies
    }

    /// What came after a transaction.
    pub fn after(&self, origin: usize) -> impl Iterator<Item = (usize, Kind)> {
        self.edges[origin].iter().copied()
    }

    /// How many transactions there are.
    pub fn count(&self) -> usize {
        self.edges.len()
    }

    fn add(&mut self, from: usize, to: usize, kind: Kind) {
        if from != to {
            self.edges[from].insert((to, kind));
        }
    }
}
