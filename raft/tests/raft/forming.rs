//! How a cluster comes about, grows, shrinks and comes back.

use cluster::metadata::{MetadataCommand, Refusal};
use cluster::{LogIndex, NodeId};
use raft::{Event, RaftError, RaftState, Request, Response};

use crate::stage::{Stage, cluster_id, eventually, identity, record};

fn ids(nodes: impl IntoIterator<Item = u32>) -> Vec<NodeId> {
    nodes.into_iter().map(NodeId).collect()
}

#[test]
fn three_nodes_form_and_a_followers_proposal_reaches_all() {
    let stage = Stage::cluster(3);
    let status = stage.node(1).status();
    assert_eq!(status.state, RaftState::Leader);
    assert_eq!((status.voters, status.learners), (ids(1..=3), ids([])));
    assert_eq!(status.matched.len(), 3);

    let (index, _) = stage
        .node(3)
        .propose(MetadataCommand::ActivateNode { node: NodeId(3) })
        .expect("forwarded to the leader");
    let metadata = stage.agreed(&[1, 2, 3], index);
    assert_eq!(metadata.nodes().count(), 3);
    assert_eq!(metadata.cluster_id(), Some(&cluster_id()));
    assert_eq!(stage.node(2).status().state, RaftState::Follower);
    assert_eq!(stage.node(2).status().leader, Some(NodeId(1)));
}

#[test]
fn confirm_on_a_follower_sees_what_the_leader_committed() {
    let stage = Stage::cluster(3);
    let (index, _) = stage
        .node(1)
        .propose(MetadataCommand::ActivateNode { node: NodeId(2) })
        .expect("committed");
    assert!(stage.node(2).confirm().expect("confirmed") >= index);
    assert!(stage.node(2).metadata().0 >= index);
}

#[test]
fn the_state_machines_refusal_is_an_outcome() {
    let stage = Stage::cluster(2);
    let unknown = MetadataCommand::ActivateNode { node: NodeId(9) };
    let (_, outcome) = stage.node(2).propose(unknown).expect("committed");
    let refused = Refusal::UnknownNode { id: NodeId(9) };
    assert_eq!(outcome, cluster::metadata::Outcome::Refused(refused));
}

#[test]
fn everything_is_found_after_a_restart_of_all() {
    let mut stage = Stage::cluster(3);
    let index = stage.node(2).admit(4);
    let before = stage.agreed(&[1, 2, 3], index);
    stage.nodes.iter_mut().for_each(|node| node.stop());

    stage.nodes.iter_mut().for_each(|node| node.start());
    for number in 1..=3 {
        // From its own disk: what was announced before is announced again.
        let node = stage.node(number);
        assert!(matches!(node.next_news(), Event::Adopted(id) if id == identity(number)));
        let Event::Applied { index: at, metadata } = node.next_news() else {
            panic!("not the state");
        };
        assert!(at >= index);
        assert_eq!(*metadata, before);
    }
    stage.leader_among(&[1, 2, 3]);
    let (after, _) = stage
        .node(3)
        .propose(MetadataCommand::ActivateNode { node: NodeId(4) })
        .expect("the cluster works");
    assert!(after > index);
}

#[test]
fn only_three_vote_and_a_learner_follows_a_voter_that_leaves() {
    let stage = Stage::cluster(6);
    let status = stage.node(1).status();
    assert_eq!((status.voters, status.learners), (ids(1..=3), ids(4..=6)));
    assert_eq!(stage.node(6).status().state, RaftState::Learner);

    stage.node(6).done(Request::RemoveMember { node: NodeId(3) });
    let status = stage.node(1).status();
    assert_eq!((status.voters, status.learners), (ids([1, 2, 4]), ids([5, 6])));
    stage.node(4).done(Request::RemoveMember { node: NodeId(6) });
    assert_eq!(stage.node(1).status().learners, ids([5]));
    // What is gone counts as removed.
    stage.node(1).done(Request::RemoveMember { node: NodeId(6) });
    // The leader takes its place with it; the next one fills it.
    assert_eq!(stage.leader_among(&[1, 2, 4, 5]), 1);
    stage.node(2).done(Request::RemoveMember { node: NodeId(1) });
    let leader = stage.leader_among(&[2, 4, 5]);
    eventually("the last learner votes", || {
        (stage.node(leader).status().voters == ids([2, 4, 5])).then_some(())
    });

    stage.node(3).done(Request::Leave { cluster_id: cluster_id() });
    assert_eq!(stage.node(3).status().state, RaftState::NotMember);
    assert!(eventually_left(&stage, 3));
}

fn eventually_left(stage: &Stage, node: u32) -> bool {
    std::iter::repeat_with(|| stage.node(node).next_event())
        .any(|event| matches!(event, Event::Left))
}

#[test]
fn a_leader_that_is_removed_hands_over() {
    let stage = Stage::cluster(3);
    stage.node(2).done(Request::RemoveMember { node: NodeId(1) });
    stage.leader_among(&[2, 3]);
    let command = MetadataCommand::RemoveNode { node: NodeId(1) };
    let (index, _) = stage.node(2).propose(command).expect("committed by the others");
    let metadata = stage.agreed(&[2, 3], index);
    assert!(metadata.node(NodeId(1)).is_none());
    assert_eq!(stage.node(2).status().voters, ids([2, 3]));
}

#[test]
fn the_last_voter_stays() {
    let stage = Stage::cluster(1);
    let removed = stage.node(1).call(Request::RemoveMember { node: NodeId(1) });
    assert_eq!(removed, Err(RaftError::LastVoter { node: NodeId(1) }));
}

#[test]
fn a_second_found_is_refused() {
    let stage = Stage::cluster(1);
    let before = stage.node(1).metadata();
    let again = stage.node(1).call(Request::Found { identity: identity(1), first: record(1) });
    let (cluster_id, node_id) = (cluster_id(), NodeId(1));
    assert_eq!(again, Err(RaftError::AlreadyMember { cluster_id, node_id }));
    assert_eq!(stage.node(1).metadata(), before);
}

#[test]
fn adopt_can_be_taken_back_until_the_log_arrives() {
    let mut stage = Stage::outside(2);
    stage.node(2).done(Request::Adopt { identity: identity(2) });
    assert_eq!(stage.node(2).status().state, RaftState::Uninitialized);
    // It survives a restart, and so does the way back.
    stage.node_mut(2).stop();
    stage.node_mut(2).start();
    eventually("node 2 is up", || {
        (stage.node(2).status().state == RaftState::Uninitialized).then_some(())
    });
    stage.node(2).done(Request::Forget { cluster_id: cluster_id() });
    assert_eq!(stage.node(2).status().state, RaftState::NotMember);

    stage.found();
    stage.join(2);
    let forgotten = stage.node(2).call(Request::Forget { cluster_id: cluster_id() });
    assert_eq!(forgotten, Err(RaftError::LogReceived));
}

#[test]
fn a_newcomer_gets_a_snapshot_where_the_log_is_gone() {
    let mut stage = Stage::with_snapshots(3, 20);
    stage.found();
    stage.join(2);
    let activate = MetadataCommand::ActivateNode { node: NodeId(2) };
    let mut last = LogIndex(0);
    for _ in 0..60 {
        last = stage.node(1).propose(activate.clone()).expect("committed").0;
    }
    assert!(
        eventually("a snapshot is taken", || {
            let snapshot = stage.node(1).status().snapshot;
            (snapshot > LogIndex(20)).then_some(snapshot)
        }) <= last
    );
    stage.join(3);
    let index = stage.node(3).confirm().expect("confirmed");
    let before = stage.agreed(&[1, 2, 3], index);
    assert!(stage.node(3).status().snapshot > LogIndex(20));

    stage.nodes.iter_mut().for_each(|node| node.stop());
    stage.nodes.iter_mut().for_each(|node| node.start());
    stage.leader_among(&[1, 2, 3]);
    // Each start is in the log; all else is as it was.
    let after = stage.agreed(&[1, 2, 3], index);
    assert!(after.nodes().eq(before.nodes()));
}

#[test]
fn events_arrive_in_order() {
    let stage = Stage::outside(2);
    stage.found();
    stage.join(2);
    let last = stage.node(2).admit(3);
    for number in 1..=2 {
        let node = stage.node(number);
        assert!(matches!(node.next_event(), Event::Adopted(id) if id == identity(number)));
        let mut before = LogIndex(0);
        while before < last {
            match node.next_event() {
                Event::Applied { index, .. } => {
                    assert!(index > before, "{index} after {before}");
                    before = index;
                }
                Event::Log { .. } => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

#[test]
fn a_member_may_be_added_twice() {
    let stage = Stage::cluster(2);
    assert_eq!(stage.node(2).call(Request::AddMember { node: record(2) }), Ok(Response::Done));
    assert_eq!(stage.node(1).status().voters, ids([1, 2]));
}
