//! The connector against a real server, which these tests do not start: set
//! `SHARDMAN_TEST_CONNSTR` (host, port, dbname) to one that asks for passwords
//! and holds what `SETUP` makes, and run them with `--ignored`.

use std::io;

use cluster::{Credential, NodeId};
use raft::{PeerAddress, PeerConnection, PeerConnector, PostgresConnector};

/// For whoever runs the tests; the function gives back what it gets, reversed.
#[allow(dead_code)]
const SETUP: &str = "
    CREATE ROLE shardman_node LOGIN PASSWORD 'secret';
    CREATE SCHEMA shardman;
    GRANT USAGE ON SCHEMA shardman TO shardman_node;
    CREATE FUNCTION shardman.raft_rpc(frame bytea) RETURNS bytea LANGUAGE sql
    RETURN convert_to(reverse(convert_from(frame, 'UTF8')), 'UTF8');
";

fn with_connection<T>(
    credential: &str,
    use_it: impl AsyncFnOnce(io::Result<Box<dyn PeerConnection>>) -> T,
) -> T {
    let connstr = std::env::var("SHARDMAN_TEST_CONNSTR").expect("SHARDMAN_TEST_CONNSTR is set");
    let credential = Credential(credential.into());
    let address = PeerAddress { node: NodeId(2), origin: NodeId(1), connstr, credential };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .expect("a runtime")
        .block_on(async { use_it(PostgresConnector.connect(address).await).await })
}

#[test]
#[ignore = "needs a server"]
fn frames_travel_through_a_server_and_its_errors_are_readable() {
    with_connection("secret", async |connection| {
        let mut connection = connection.expect("logged in");
        for _ in 0..2 {
            assert_eq!(connection.call(b"abc".to_vec()).await.expect("answered"), b"cba");
        }
        let error = connection.call(vec![0xff]).await.expect_err("not UTF-8");
        assert!(error.to_string().ends_with("(22021)"), "{error}");
        assert!(!connection.is_closed());
    });
}

#[test]
#[ignore = "needs a server"]
fn a_wrong_credential_is_told_and_not_shown() {
    with_connection("hunter2", async |connection| {
        let error = connection.err().expect("refused").to_string();
        assert!(error.contains("password authentication failed"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    });
}
