//! Cycles in the graph, and who is to end each.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write;

use super::{Edge, Holder, WaitGraph};
use crate::NodeId;
use crate::txn::DistributedId;

/// A cycle over several nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlock {
    /// Each one's blocker is the next one's waiter; the first is the victim's.
    edges: Vec<Edge>,
}

impl Deadlock {
    /// The youngest transaction of the cycle.
    pub fn victim(&self) -> DistributedId {
        self.edges[0].waiter
    }

    /// Where the victim waits, and in which process: ending that wait ends the
    /// deadlock.
    pub fn wait_to_end(&self) -> (NodeId, i32, i64) {
        let edge = &self.edges[0];
        (edge.at, edge.pid, edge.since)
    }

    /// The waits, from the victim's on.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// One line for each wait of the cycle, as PostgreSQL's own DETAIL has
    /// them, with the nodes: processes are the coordinators'.
    pub fn detail(&self) -> String {
        let mut detail = String::new();
        for edge in &self.edges {
            let separator = if detail.is_empty() { "" } else { "\n" };
            // Writing to a String does not fail.
            let _ = write!(
                detail,
                "{separator}Process {} on node {} waits for {} on {} on node {}; blocked by process {} on node {}.",
                edge.waiter.pid,
                edge.waiter.node,
                edge.mode,
                edge.object,
                edge.at,
                edge.blocker.pid,
                edge.blocker.node,
            );
        }
        detail
    }

    /// Whether one server sees the whole cycle between its own processes, and
    /// so ends it by itself.
    fn is_one_servers_own(&self) -> bool {
        let next = self.edges.iter().cycle().skip(1);
        self.edges.iter().zip(next).all(|(edge, next)| {
            edge.at == next.at && matches!(edge.holder, Holder::Process(pid, _) if pid == next.pid)
        })
    }
}

impl WaitGraph {
    /// Deadlocks that no server sees by itself, such that ending each one's
    /// victim leaves none but those that share a wait with a cycle on one server:
    /// they show when that server has ended it. The same graph gives the same
    /// victims on every node.
    pub fn deadlocks(&self) -> Vec<Deadlock> {
        let mut found = Vec::new();
        let mut gone = BTreeSet::new();
        let mut skipped = HashSet::new();
        while let Some(cycle) = self.find_cycle(&gone, &skipped) {
            let edges: Vec<&Edge> = cycle.iter().map(|at| &self.edges()[*at]).collect();
            let deadlock = self.turned_to_its_victim(&edges);
            if deadlock.is_one_servers_own() {
                skipped.insert(cycle[0]);
            } else {
                gone.insert(deadlock.victim());
                found.push(deadlock);
            }
        }
        found
    }

    /// Turns a cycle so that it begins with the youngest of its distributed
    /// transactions; of all, if none is known to be distributed.
    fn turned_to_its_victim(&self, cycle: &[&Edge]) -> Deadlock {
        let first = (0..cycle.len())
            .max_by_key(|at| {
                let waiter = cycle[*at].waiter;
                (self.is_distributed(waiter), self.youth(waiter))
            })
            .unwrap_or(0);
        let turned = cycle[first..].iter().chain(&cycle[..first]);
        Deadlock { edges: turned.map(|edge| (*edge).clone()).collect() }
    }

    /// A cycle as indexes of edges, without some transactions and edges.
    fn find_cycle(
        &self,
        gone: &BTreeSet<DistributedId>,
        skipped: &HashSet<usize>,
    ) -> Option<Vec<usize>> {
        let edges = self.edges();
        // Sorted by waiter: those of one are a range.
        let first_of = |id: DistributedId| edges.partition_point(|edge| edge.waiter < id);
        let mut done = HashSet::new();
        for start in edges.iter().map(|edge| edge.waiter) {
            if gone.contains(&start) || done.contains(&start) {
                continue;
            }
            // Transactions on the way here, each with its edge to look at next.
            let mut way = vec![(start, first_of(start))];
            while let Some((here, next)) = way.last_mut() {
                let at = *next;
                let Some(edge) = edges.get(at).filter(|edge| edge.waiter == *here) else {
                    done.insert(*here);
                    way.pop();
                    continue;
                };
                *next += 1;
                let blocker = edge.blocker;
                if skipped.contains(&at) || gone.contains(&blocker) || done.contains(&blocker) {
                    continue;
                }
                if let Some(begin) = way.iter().position(|(id, _)| *id == blocker) {
                    // Each entry's edge is the one before its next.
                    return Some(way[begin..].iter().map(|(_, next)| next - 1).collect());
                }
                way.push((blocker, first_of(blocker)));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
