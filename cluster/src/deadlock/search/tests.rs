use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::deadlock::{Coordinator, NodeReport, Process, Wait};

/// A cluster drawn by hand: transaction `t` is coordinated by process 100 + t
/// of its node, and process 200 + t serves it on every other.
#[derive(Clone, Debug, Default)]
struct Stage {
    reports: BTreeMap<u32, NodeReport>,
    homes: Vec<u32>,
}

impl Stage {
    fn new(nodes: u32, homes: &[u32]) -> Stage {
        let mut stage = Stage { homes: homes.to_vec(), ..Stage::default() };
        for node in 1..=nodes {
            let report = NodeReport { node: NodeId(node), processes: vec![], waits: vec![] };
            stage.reports.insert(node, report);
        }
        for (t, home) in homes.iter().enumerate() {
            let started = 1000 + t as i64;
            stage.add(*home, Process { started, ..process(100 + t as i32) });
        }
        stage
    }

    fn add(&mut self, node: u32, process: Process) {
        let processes = &mut self.reports.get_mut(&node).expect("a node").processes;
        if processes.iter().all(|p| p.pid != process.pid) {
            processes.push(process);
        }
    }

    fn id(&self, t: usize) -> DistributedId {
        DistributedId { node: NodeId(self.homes[t]), pid: 100 + t as i32, transaction: 7 }
    }

    /// The process of `t` on a node, which is made if need be.
    fn process_of(&mut self, t: usize, node: u32) -> i32 {
        if node == self.homes[t] {
            return 100 + t as i32;
        }
        let home = self.homes[t];
        let serves = Some(Coordinator { node: NodeId(home), pid: 100 + t as i32, started: 3 });
        self.add(node, Process { serves, ..process(200 + t as i32) });
        let processes = &mut self.reports.get_mut(&home).expect("a node").processes;
        let coordinator = processes.iter_mut().find(|p| p.pid == 100 + t as i32);
        coordinator.expect("the coordinator").coordinates.push(node);
        200 + t as i32
    }

    /// Lets `waiter` wait for `blocker` on a node.
    fn wait(&mut self, node: u32, waiter: usize, blocker: usize) {
        let (pid, blocker) = (self.process_of(waiter, node), self.process_of(blocker, node));
        self.reports.get_mut(&node).expect("a node").waits.push(wait_of(pid, blocker));
    }

    fn graph(&self) -> WaitGraph {
        WaitGraph::join(&self.reports.values().cloned().collect::<Vec<_>>())
    }

    fn victims(&self) -> Vec<DistributedId> {
        self.graph().deadlocks().iter().map(Deadlock::victim).collect()
    }
}

fn process(pid: i32) -> Process {
    Process {
        pid,
        transaction: 7,
        started: 0,
        backend_started: 3,
        xid: None,
        coordinates: vec![],
        serves: None,
    }
}

fn wait_of(pid: i32, blocker: i32) -> Wait {
    Wait {
        pid,
        since: 5,
        mode: "ShareLock".to_owned(),
        object: format!("transaction {blocker}"),
        relation: None,
        blockers: vec![blocker],
        prepared: vec![],
    }
}

#[test]
fn two_transactions_over_two_nodes() {
    let mut stage = Stage::new(2, &[1, 2]);
    stage.wait(2, 0, 1);
    stage.wait(1, 1, 0);
    let found = stage.graph().deadlocks();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].victim(), stage.id(1), "the younger one");
    assert_eq!(found[0].wait_to_end(), (NodeId(1), 201, 5));
    assert_eq!(
        found[0].detail(),
        "Process 101 on node 2 waits for ShareLock on transaction 100 on node 1; blocked by process 100 on node 1.\n\
         Process 100 on node 1 waits for ShareLock on transaction 101 on node 2; blocked by process 101 on node 2."
    );
}

#[test]
fn a_chain_is_no_deadlock() {
    let mut stage = Stage::new(3, &[1, 2, 3]);
    stage.wait(1, 0, 1);
    stage.wait(2, 1, 2);
    assert_eq!(stage.victims(), []);
}

#[test]
fn a_cycle_on_one_server_is_that_servers() {
    let mut stage = Stage::new(2, &[1, 2]);
    stage.wait(1, 0, 1);
    stage.wait(1, 1, 0);
    assert_eq!(stage.victims(), []);
    // Beside it one that is not.
    stage.wait(2, 0, 1);
    assert_eq!(stage.victims(), [stage.id(1)]);
}

#[test]
fn a_local_transaction_in_between_is_no_victim() {
    // The youngest, 2, never leaves node 1.
    let mut stage = Stage::new(2, &[1, 2, 1]);
    stage.wait(1, 1, 2);
    stage.wait(1, 2, 0);
    stage.wait(2, 0, 1);
    assert_eq!(stage.victims(), [stage.id(1)]);
}

#[test]
fn one_victim_ends_two_cycles_that_share_it() {
    let mut stage = Stage::new(2, &[1, 1, 2]);
    stage.wait(2, 0, 2);
    stage.wait(2, 1, 2);
    stage.wait(1, 2, 0);
    stage.wait(1, 2, 1);
    assert_eq!(stage.victims(), [stage.id(2)]);
}

#[test]
fn a_prepared_transaction_is_its_coordinators() {
    let mut stage = Stage::new(2, &[1, 2]);
    let coordinator = &mut stage.reports.get_mut(&1).expect("node 1").processes[0];
    coordinator.xid = Some(77);
    stage.wait(1, 0, 1);
    let pid = stage.process_of(1, 2);
    let mut wait = wait_of(pid, 0);
    (wait.blockers, wait.prepared) = (vec![], vec![format!("sc_1_5_{}_0_2", (9u64 << 32) + 77)]);
    stage.reports.get_mut(&2).expect("node 2").waits.push(wait);
    assert_eq!(stage.victims(), [stage.id(1)]);
    // Its coordinator is in another transaction now.
    stage.reports.get_mut(&1).expect("node 1").processes[0].xid = Some(78);
    assert_eq!(stage.victims(), []);
}

#[test]
fn a_wait_that_began_anew_does_not_stand() {
    let mut stage = Stage::new(2, &[1, 2]);
    stage.wait(2, 0, 1);
    stage.wait(1, 1, 0);
    let first = stage.graph();
    assert_eq!(first.clone().standing(&first).deadlocks().len(), 1);
    stage.reports.get_mut(&1).expect("node 1").waits[0].since = 6;
    assert_eq!(first.clone().standing(&stage.graph()).deadlocks(), []);
}

#[test]
fn what_a_session_still_holds_of_an_earlier_transaction_is_not_the_present_ones() {
    // Process 201 holds locks for a transaction of 101 that is over there.
    let mut stage = Stage::new(2, &[1, 2]);
    stage.wait(1, 0, 1);
    stage.wait(2, 1, 0);
    assert_eq!(stage.victims().len(), 1);
    coordinator_of(&mut stage).coordinates.clear();
    assert_eq!(stage.victims(), []);
    coordinator_of(&mut stage).coordinates.push(1);
    assert_eq!(stage.victims().len(), 1);
    // Or for an earlier process of that number.
    coordinator_of(&mut stage).backend_started = 4;
    assert_eq!(stage.victims(), []);
}

fn coordinator_of(stage: &mut Stage) -> &mut Process {
    &mut stage.reports.get_mut(&2).expect("node 2").processes[0]
}

/// Nodes, homes, and waits (node, waiter, blocker).
fn stages() -> impl Strategy<Value = Stage> {
    (2u32..5, prop::collection::vec(1u32..5, 2..9)).prop_flat_map(|(nodes, homes)| {
        let homes: Vec<u32> = homes.into_iter().map(|home| (home - 1) % nodes + 1).collect();
        let n = homes.len();
        prop::collection::vec((1..=nodes, 0..n, 0..n), 0..16).prop_map(move |waits| {
            let mut stage = Stage::new(nodes, &homes);
            for (node, waiter, blocker) in waits {
                if waiter != blocker {
                    stage.wait(node, waiter, blocker);
                }
            }
            stage
        })
    })
}

proptest! {
    #[test]
    fn what_is_found_is_a_cycle_of_waits(stage in stages()) {
        let graph = stage.graph();
        for deadlock in graph.deadlocks() {
            let next = deadlock.edges().iter().cycle().skip(1);
            for (edge, next) in deadlock.edges().iter().zip(next) {
                prop_assert!(graph.edges().contains(edge));
                prop_assert_eq!(edge.blocker, next.waiter);
            }
            let youngest = deadlock.edges().iter().map(|e| e.waiter)
                .filter(|id| graph.is_distributed(*id)).max_by_key(|id| graph.youth(*id));
            prop_assert_eq!(Some(deadlock.victim()), youngest);
        }
    }

    #[test]
    fn without_its_victims_a_graph_has_no_deadlock(stage in stages()) {
        let graph = stage.graph();
        let none = (BTreeSet::new(), HashSet::new());
        // What hides behind a cycle on one server shows when that server has ended it.
        let is_one_servers = |node: &u32| {
            let mut here = graph.clone();
            here.retain(|edge| edge.at == NodeId(*node));
            here.find_cycle(&none.0, &none.1).is_some()
        };
        if stage.reports.keys().any(is_one_servers) {
            return Ok(());
        }
        let victims: Vec<_> = graph.deadlocks().iter().map(Deadlock::victim).collect();
        let mut rest = graph.clone();
        rest.retain(|edge| !victims.contains(&edge.waiter) && !victims.contains(&edge.blocker));
        prop_assert!(rest.find_cycle(&none.0, &none.1).is_none());
    }

    #[test]
    fn waits_of_older_for_younger_are_no_deadlock(stage in stages()) {
        let mut stage = stage;
        for report in stage.reports.values_mut() {
            // Process ids follow the number of the transaction.
            report.waits.retain(|wait| wait.pid % 100 < wait.blockers[0] % 100);
        }
        prop_assert_eq!(stage.victims(), vec![]);
    }

    #[test]
    fn every_node_finds_the_same(stage in stages()) {
        let mut turned: Vec<NodeReport> = stage.reports.values().rev().cloned().collect();
        for report in &mut turned {
            report.processes.reverse();
            report.waits.reverse();
        }
        let other = WaitGraph::join(&turned).deadlocks();
        let other: Vec<_> = other.iter().map(Deadlock::victim).collect();
        prop_assert_eq!(stage.victims(), other);
    }
}
