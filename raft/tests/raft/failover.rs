//! What happens when nodes go away.

use std::time::Instant;

use cluster::NodeId;
use cluster::metadata::MetadataCommand;
use raft::{RaftError, RaftState};

use crate::stage::{PATIENCE, Stage, eventually, timing};

fn activate(node: u32) -> MetadataCommand {
    MetadataCommand::ActivateNode { node: NodeId(node) }
}

#[test]
fn a_new_leader_follows_one_that_stops() {
    let mut stage = Stage::cluster(3);
    assert_eq!(stage.leader_among(&[1, 2, 3]), 1);
    let index = stage.node(1).admit(4);
    stage.node_mut(1).stop();

    stage.leader_among(&[2, 3]);
    for number in [2, 3] {
        let (after, _) = eventually("the others accept proposals", || {
            stage.node(number).propose(activate(4)).ok()
        });
        assert!(after > index);
    }
    let index = stage.node(2).confirm().expect("confirmed by two of three");

    // The one that was away gets what it missed.
    stage.node_mut(1).start();
    let metadata = stage.agreed(&[1, 2, 3], index);
    assert_eq!(metadata.nodes().count(), 4);
}

#[test]
fn a_minority_commits_nothing_and_says_so_in_time() {
    let stage = Stage::cluster(3);
    assert_eq!(stage.leader_among(&[1, 2, 3]), 1);
    let before = stage.agreed(&[1, 2, 3], stage.node(1).confirm().expect("confirmed"));
    stage.net.cut_off(1);

    // It believes to lead still: the entry is in its log, and may be anything.
    let started = Instant::now();
    let alone = stage.node(1).propose(activate(2));
    assert_eq!(alone, Err(RaftError::OutcomeUnknown));
    assert!(started.elapsed() < 2 * timing().proposal);
    assert_eq!(stage.node(1).metadata().1, before);

    // By now it knows better and appends nothing more.
    assert_eq!(stage.node(1).propose(activate(3)), Err(RaftError::NoLeader));
    assert_eq!(stage.node(1).confirm(), Err(RaftError::NoLeader));

    stage.leader_among(&[2, 3]);
    let (index, _) = eventually("the majority goes on", || stage.node(2).propose(activate(2)).ok());
    stage.net.heal();
    stage.agreed(&[1, 2, 3], index);
    let status = stage.node(1).status();
    assert_ne!(status.leader, Some(NodeId(1)));
}

#[test]
fn a_follower_without_a_leader_answers_in_time() {
    let mut stage = Stage::cluster(3);
    stage.node_mut(1).stop();
    stage.node_mut(2).stop();
    eventually("node 3 misses its leader", || {
        (stage.node(3).status().state == RaftState::Candidate).then_some(())
    });
    let started = Instant::now();
    let answer = stage.node(3).propose(activate(2));
    assert_eq!(answer, Err(RaftError::NoLeader));
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn a_proposal_waits_for_the_next_leader() {
    let mut stage = Stage::cluster(3);
    let index = stage.node(2).confirm().expect("confirmed");
    stage.agreed(&[1, 2, 3], index);
    stage.node_mut(1).stop();
    // No waiting here: an election takes place while this is under way. The
    // connection to the old leader is refused, so nothing was appended there.
    let (after, _) = stage.node(2).propose(activate(3)).expect("committed by the next leader");
    assert!(after > index);
}
