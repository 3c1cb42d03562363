//! The suite `isolation`: PostgreSQL's own isolation tester, each session of a
//! spec on a node of its own.

use regress::{Suite, TestCluster};

#[test]
fn isolation_suite() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    Suite::named("isolation").run_isolation(&cluster)
}
