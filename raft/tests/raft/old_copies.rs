//! Data directories that are not what their cluster has last seen of them.

use std::path::Path;

use cluster::NodeId;
use cluster::metadata::{MetadataCommand, Outcome};
use raft::{RaftError, RaftState, Request};

use crate::stage::{Node, Stage, cluster_id, eventually};

/// Copies the log; the rest of the directory does not change.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("created");
    for name in ["raft.redb", "identity.json"] {
        std::fs::copy(from.join(name), to.join(name)).expect("copied");
    }
}

/// Something that all of them apply.
fn go_on(stage: &Stage) {
    let change = MetadataCommand::ActivateNode { node: NodeId(1) };
    let (index, outcome) = stage.node(1).propose(change).expect("proposed");
    assert_eq!(outcome, Outcome::Applied);
    stage.agreed(&[1, 2, 3], index);
}

fn is_barred(node: &Node) {
    let reason = eventually("the node is barred", || match node.status().state {
        RaftState::Barred(reason) => Some(reason),
        _ => None,
    });
    assert!(reason.contains("old copy"), "{reason}");
    let error = RaftError::OldCopy { node: NodeId(node.number) };
    assert_eq!(node.confirm(), Err(error.clone()));
    assert_eq!(node.call(Request::Metadata), Err(error));
}

#[test]
fn a_copy_from_before_the_last_start_does_not_take_part_until_it_joins_anew() {
    let mut stage = Stage::cluster(3);
    let copied = stage.root().join("copy");
    stage.node_mut(3).stop();
    copy(&stage.node(3).dir, &copied);
    let lives = stage.node(3).lives.clone();
    stage.node_mut(3).start();
    // From then on the log knows of that start.
    eventually("the node has told of its start", || stage.node(3).confirm().ok());
    stage.node_mut(3).stop();

    copy(&copied, &stage.node(3).dir);
    stage.node_mut(3).lives = lives;
    stage.node_mut(3).start();
    is_barred(stage.node(3));
    // Again, by what it finds out by asking.
    stage.node_mut(3).stop();
    stage.node_mut(3).start();
    is_barred(stage.node(3));
    // The others are a majority without it.
    stage.node(1).confirm().expect("a majority");

    stage.node(3).done(Request::Leave { cluster_id: cluster_id() });
    assert_eq!(stage.node(3).status().state, RaftState::NotMember);
}

#[test]
fn a_copy_that_lacks_what_the_leader_saw_it_have_does_not_take_part() {
    let mut stage = Stage::cluster(3);
    let leader = stage.leader_among(&[1, 2, 3]);
    let other = if leader == 3 { 2 } else { 3 };
    let copied = stage.root().join("copy");
    stage.node_mut(other).stop();
    copy(&stage.node(other).dir, &copied);
    stage.node_mut(other).resume();
    go_on(&stage);
    stage.node_mut(other).stop();
    copy(&copied, &stage.node(other).dir);
    stage.node_mut(other).resume();
    is_barred(stage.node(other));
}

#[test]
fn nodes_that_are_all_started_at_once_recognise_each_other() {
    let mut stage = Stage::cluster(3);
    for node in 1..=3 {
        stage.node_mut(node).stop();
    }
    stage.node_mut(1).start();
    // Nobody answers it, so it votes for nobody and leads nothing.
    assert_eq!(stage.node(1).status().state, RaftState::Unrecognised);
    assert_eq!(stage.node(1).confirm(), Err(RaftError::Unrecognised { node: NodeId(1) }));
    stage.node_mut(2).start();
    eventually("two of three go on", || stage.node(2).confirm().ok());
    stage.node_mut(3).start();
    eventually("the third is back", || stage.node(3).confirm().ok());
}
