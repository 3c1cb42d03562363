//! A node that is killed, as an immediate shutdown of the server kills it. The
//! node to kill runs in a process of its own: this test binary, once more.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use cluster::metadata::MetadataCommand;
use cluster::txn::Life;
use cluster::{LogIndex, NodeId};
use raft::Event;

use crate::stage::{Stage, identity};

const DIR: &str = "SHARDMAN_TEST_CRASH_DIR";
const ANNOUNCED: &str = "announced ";

/// Founds a cluster, proposes without end and prints what is announced.
#[test]
#[ignore = "run by a_killed_node_finds_what_it_announced, in a process of its own"]
fn a_node_that_never_ends() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let mut stage = Stage::outside(1);
    let node = stage.node_mut(1);
    node.stop();
    node.dir = PathBuf::from(dir);
    node.start();
    stage.found();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            loop {
                if let Event::Applied { index, .. } = stage.node(1).next_event() {
                    // Not `println!`: the harness would keep it.
                    writeln!(std::io::stderr(), "{ANNOUNCED}{index}").expect("the parent reads");
                }
            }
        });
        loop {
            let command = MetadataCommand::ActivateNode { node: NodeId(1) };
            stage.node(1).propose(command).expect("committed");
        }
    });
}

#[test]
fn a_killed_node_finds_what_it_announced() {
    let mut stage = Stage::outside(1);
    stage.node_mut(1).stop();
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "crash::a_node_that_never_ends", "--ignored", "--nocapture"])
        .env(DIR, &stage.node(1).dir)
        // Killed, it cannot tidy up.
        .env("TMPDIR", stage.root())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut announced = LogIndex(0);
    for line in lines.map_while(Result::ok) {
        if let Some(index) = line.strip_prefix(ANNOUNCED) {
            announced = LogIndex(index.parse().expect("a number"));
        }
        if announced >= LogIndex(50) {
            child.kill().expect("killed");
        }
    }
    child.wait().expect("gone");
    assert!(announced >= LogIndex(50));

    let node = stage.node_mut(1);
    // Those of the other process, which counted from one.
    node.lives.extend([Life(1), Life(2)]);
    node.start();
    assert!(matches!(node.next_event(), Event::Adopted(id) if id == identity(1)));
    let Event::Applied { index, metadata } = node.next_event() else { panic!("not the state") };
    assert!(index >= announced, "{index} is behind {announced}");
    assert_eq!(metadata.nodes().count(), 1);
}
