//! What a node does not accept.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};

use cluster::{ClusterId, NodeId, SystemIdentifier};
use raft::{
    Event, FrameReader, Level, MAX_FRAME_BYTES, RaftError, RaftState, Request, Response,
    SOCKET_NAME, decode_response,
};

use crate::stage::{Node, PATIENCE, Stage, cluster_id, eventually, identity, record};

static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// A peer's frame, written down by hand: this is the format on the wire.
fn frame(cluster: &str, to: u32) -> Vec<u8> {
    numbered_frame(cluster, to, 5, NUMBERS.fetch_add(1, Ordering::Relaxed))
}

fn numbered_frame(cluster: &str, to: u32, life: u64, number: u64) -> Vec<u8> {
    format!(
        r#"{{"format":2,"cluster_id":"{cluster}","from":9,"life":{life},"number":{number},"to":{to},
            "ask":{{"forward":{{"request":"confirm","timeout_ms":1000}}}}}}"#
    )
    .into_bytes()
}

fn rpc(node: &Node, frame: Vec<u8>) -> String {
    match node.call(Request::Rpc(frame)) {
        Ok(Response::Rpc(reply)) => String::from_utf8(reply).expect("JSON"),
        other => panic!("not a reply: {other:?}"),
    }
}

/// Sends bytes as they are and answers what comes back before the end.
fn raw(node: &Node, bytes: &[u8]) -> Result<Response, RaftError> {
    let mut stream = UnixStream::connect(node.dir.join(SOCKET_NAME)).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(bytes).expect("sent");
    let (mut reader, mut chunk) = (FrameReader::new(), [0; 1024]);
    loop {
        if let Some(frame) = reader.next_frame().expect("a small answer") {
            return decode_response(&frame);
        }
        let n = stream.read(&mut chunk).expect("an answer");
        assert!(n > 0, "closed without an answer");
        reader.extend(&chunk[..n]);
    }
}

#[test]
fn a_frame_of_another_cluster_or_for_another_node_is_refused() {
    let stage = Stage::cluster(1);
    let node = stage.node(1);
    assert!(rpc(node, frame("c0ffee", 1)).contains("confirmed"));
    assert!(rpc(node, frame("decaf", 1)).contains("wrong_cluster"));
    assert!(rpc(node, frame("c0ffee", 2)).contains("wrong_node"));
    assert!(rpc(node, b"not JSON".to_vec()).contains("malformed"));
    assert!(rpc(node, br#"{"format":1}"#.to_vec()).contains("wrong_format"));
    let logged = std::iter::repeat_with(|| node.next_event()).any(|event| {
        matches!(event, Event::Log { level: Level::Warning, message } if message.contains("decaf"))
    });
    assert!(logged);
}

#[test]
fn a_frame_that_was_here_or_is_of_an_earlier_life_is_refused_and_logged() {
    let stage = Stage::cluster(1);
    let node = stage.node(1);
    let send = |life, number| rpc(node, numbered_frame("c0ffee", 1, life, number));
    assert!(send(5, 1).contains("confirmed"));
    assert!(send(5, 1).contains("replayed"));
    assert!(send(6, 1).contains("confirmed"));
    assert!(send(5, 2).contains("earlier_life"));
    for part in ["was received before", "earlier start of node 9"] {
        let logged = std::iter::repeat_with(|| node.next_event()).any(|event| {
            matches!(event, Event::Log { level: Level::Warning, message } if message.contains(part))
        });
        assert!(logged);
    }
}

#[test]
fn a_node_outside_of_any_cluster_says_so() {
    let stage = Stage::outside(1);
    let node = stage.node(1);
    assert!(rpc(node, frame("c0ffee", 1)).contains("not_member"));
    assert_eq!(node.confirm(), Err(RaftError::NotMember));
    assert_eq!(node.call(Request::Metadata), Err(RaftError::NotMember));
    let forget = Request::Forget { cluster_id: cluster_id() };
    assert_eq!(node.call(forget), Err(RaftError::NotMember));
}

#[test]
fn an_oversized_frame_is_refused_and_the_worker_goes_on() {
    let stage = Stage::outside(1);
    let (bytes, limit) = (u64::from(u32::MAX), MAX_FRAME_BYTES as u64);
    assert_eq!(raw(stage.node(1), &[0xff; 4]), Err(RaftError::TooLarge { bytes, limit }));
    assert_eq!(stage.node(1).status().state, RaftState::NotMember);
}

#[test]
fn a_malformed_request_is_refused() {
    let stage = Stage::outside(1);
    let answer = raw(stage.node(1), b"\0\0\0\x03J{}");
    assert!(matches!(answer, Err(RaftError::Malformed { .. })), "{answer:?}");
}

#[test]
fn an_identity_for_another_data_directory_is_refused() {
    let stage = Stage::outside(1);
    let (ours, theirs) = (SystemIdentifier(1001), SystemIdentifier(1002));
    let wrong = Err(RaftError::WrongDataDirectory { ours, theirs });
    assert_eq!(stage.node(1).call(Request::Adopt { identity: identity(2) }), wrong);
    let found = Request::Found { identity: identity(2), first: record(2) };
    assert_eq!(stage.node(1).call(found), wrong);
    let found = Request::Found { identity: identity(1), first: record(2) };
    assert!(matches!(stage.node(1).call(found), Err(RaftError::Malformed { .. })));
    assert_eq!(stage.node(1).status().state, RaftState::NotMember);
}

#[test]
fn a_copied_directory_is_not_run() {
    let mut stage = Stage::cluster(1);
    stage.node_mut(1).stop();
    stage.node_mut(1).start_as(SystemIdentifier(5));
    let node = stage.node(1);
    let reason = eventually("the reason is known", || match node.status().state {
        RaftState::Stopped(reason) => Some(reason),
        _ => None,
    });
    assert!(reason.contains("system identifier 5, not 1001"), "{reason}");
    let told = std::iter::repeat_with(|| node.next_event())
        .find(|event| !matches!(event, Event::Log { .. }));
    assert!(matches!(told, Some(Event::Stopped(_))), "{told:?}");
    assert_eq!(node.confirm(), Err(RaftError::Stopped { reason }));
}

#[test]
fn a_log_of_another_node_is_a_failure() {
    let mut stage = Stage::cluster(2);
    stage.nodes.iter_mut().for_each(|node| node.stop());
    let log = |node: u32| stage.root().join(format!("n{node}")).join("raft.redb");
    std::fs::copy(log(1), log(2)).expect("copied");
    stage.node_mut(2).start();
    let Event::Failed(reason) = stage.node(2).next_event() else { panic!("not a failure") };
    assert!(reason.contains("belongs to node 1"), "{reason}");
}

#[test]
fn forget_needs_the_right_cluster() {
    let stage = Stage::outside(1);
    stage.node(1).done(Request::Adopt { identity: identity(1) });
    let theirs = ClusterId("decaf".into());
    let forget = stage.node(1).call(Request::Forget { cluster_id: theirs.clone() });
    assert_eq!(forget, Err(RaftError::WrongCluster { ours: cluster_id(), theirs }));
    assert_eq!(stage.node(1).status().node_id, Some(NodeId(1)));
}

#[test]
fn nobody_else_reads_the_directory() {
    let stage = Stage::outside(1);
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path).expect("present").permissions().mode() & 0o777
    };
    let dir = &stage.node(1).dir;
    assert_eq!(mode(dir), 0o700);
    assert_eq!(mode(&dir.join(SOCKET_NAME)), 0o600);
}
