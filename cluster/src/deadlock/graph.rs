//! Waits between transactions, joined from all nodes.

use std::collections::{BTreeSet, HashMap};

use super::{NodeReport, Process, residue};
use crate::NodeId;
use crate::txn::{DistributedId, Gid};

type Processes<'a> = HashMap<(NodeId, i32), &'a Process>;

/// Whose lock it is that somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A process of the node where the wait is, in a local transaction of its.
    Process(i32, u32),
    /// A transaction prepared there.
    Prepared(String),
}

/// One transaction waits for another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Edge {
    /// Who waits.
    pub waiter: DistributedId,
    /// Who holds it up.
    pub blocker: DistributedId,
    /// The node whose lock it is.
    pub at: NodeId,
    /// The process there that waits on the waiter's behalf.
    pub pid: i32,
    /// What holds the lock there on the blocker's behalf.
    pub holder: Holder,
    /// Since when, in microseconds by that node's clock.
    pub since: i64,
    /// The mode asked for.
    pub mode: String,
    /// What is to be locked, in words.
    pub object: String,
    /// The table that it is about, if it is about one.
    pub relation: Option<String>,
}

/// Who waits for whom, over all nodes that have reported.
#[derive(Clone, Debug, Default)]
pub struct WaitGraph {
    edges: Vec<Edge>,
    /// Start of each coordinator's transaction.
    started: HashMap<DistributedId, i64>,
    /// Those that work on other nodes than their coordinator's.
    distributed: BTreeSet<DistributedId>,
}

impl WaitGraph {
    /// Joins reports of different nodes. A transaction whose coordinator did
    /// not report is in the graph by its name alone.
    pub fn join(reports: &[NodeReport]) -> WaitGraph {
        let mut graph = WaitGraph::default();
        let processes: Processes<'_> = reports
            .iter()
            .flat_map(|report| report.processes.iter().map(|p| ((report.node, p.pid), p)))
            .collect();
        let identity = |node, pid| whose(&processes, node, pid);
        for report in reports {
            for process in &report.processes {
                let id = identity(report.node, process.pid);
                if (id.node, id.pid) == (report.node, process.pid) {
                    graph.started.insert(id, process.started);
                } else {
                    graph.distributed.insert(id);
                }
            }
        }
        let prepared_by = |text: &str| {
            let gid = Gid::parse(text)?;
            let coordinator =
                reports.iter().find(|report| report.node == gid.transaction.coordinator)?;
            let low = gid.transaction.xid as u32;
            let process = coordinator.processes.iter().find(|p| p.xid == Some(low))?;
            Some(identity(gid.transaction.coordinator, process.pid))
        };
        for report in reports {
            for wait in &report.waits {
                let waiter = identity(report.node, wait.pid);
                let by_process = wait.blockers.iter().map(|pid| {
                    let transaction =
                        processes.get(&(report.node, *pid)).map_or(0, |p| p.transaction);
                    (identity(report.node, *pid), Holder::Process(*pid, transaction))
                });
                // Without a live coordinator a prepared transaction waits for
                // nobody: it is recovery's.
                let by_prepared = wait
                    .prepared
                    .iter()
                    .filter_map(|gid| Some((prepared_by(gid)?, Holder::Prepared(gid.clone()))));
                for (blocker, holder) in by_process.chain(by_prepared) {
                    if blocker == waiter {
                        continue;
                    }
                    graph.edges.push(Edge {
                        waiter,
                        blocker,
                        at: report.node,
                        pid: wait.pid,
                        holder,
                        since: wait.since,
                        mode: wait.mode.clone(),
                        object: wait.object.clone(),
                        relation: wait.relation.clone(),
                    });
                }
            }
        }
        graph.edges.sort_by(|a, b| {
            (a.waiter, a.blocker, a.at, a.pid).cmp(&(b.waiter, b.blocker, b.at, b.pid))
        });
        graph
    }

    /// All waits, sorted by waiter and blocker.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// What of this round is there in a later one too: the same wait of the
    /// same transaction for the same one, begun at the same time.
    pub fn standing(mut self, later: &WaitGraph) -> WaitGraph {
        self.edges.retain(|edge| later.edges.contains(edge));
        self
    }

    /// Drops waits.
    #[cfg(test)]
    pub(super) fn retain(&mut self, keeps: impl Fn(&Edge) -> bool) {
        self.edges.retain(keeps);
    }

    /// Whether it works on other nodes than its coordinator's.
    pub fn is_distributed(&self, transaction: DistributedId) -> bool {
        self.distributed.contains(&transaction)
    }

    /// The order of age, youngest greatest. One whose start is not known counts
    /// as older than all others.
    pub(super) fn youth(&self, transaction: DistributedId) -> (i64, DistributedId) {
        (self.started.get(&transaction).copied().unwrap_or(i64::MIN), transaction)
    }
}

/// The transaction that a process works for: its own, unless it serves another
/// node's. A session whose coordinator has gone on to another transaction, and
/// has not turned to this node in it, still has the former one's end to see.
fn whose(processes: &Processes<'_>, node: NodeId, pid: i32) -> DistributedId {
    let process = processes.get(&(node, pid));
    let own = DistributedId { node, pid, transaction: process.map_or(0, |p| p.transaction) };
    let Some(coordinator) = process.and_then(|p| p.serves) else { return own };
    match processes.get(&(coordinator.node, coordinator.pid)) {
        Some(there)
            if there.backend_started == coordinator.started
                && there.coordinates.contains(&residue(node)) =>
        {
            let (node, pid) = (coordinator.node, coordinator.pid);
            DistributedId { node, pid, transaction: there.transaction }
        }
        _ => own,
    }
}
