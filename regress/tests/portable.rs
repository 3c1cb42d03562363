//! The suite `portable`: the same statements and the same expected results on
//! a cluster, hopping between its nodes, and on one plain PostgreSQL.

use regress::{Shape, Suite, TestCluster};

/// Also how the expected files are made: `REGRESS_ACCEPT=1`, then look at the diff.
#[test]
fn portable_suite_on_one_plain_server() -> anyhow::Result<()> {
    let server = TestCluster::plain()?;
    Suite::named("portable").run_on_plain(&server)
}

#[test]
fn portable_suite_on_a_cluster() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    Suite::named("portable").run_on_cluster(&cluster)
}

#[test]
fn portable_suite_on_a_cluster_that_routes_nothing() -> anyhow::Result<()> {
    let config = &["shardman.enable_router=off"];
    let cluster = TestCluster::start(&Shape { nodes: 3, is_plain: false, config })?;
    // What only the router can do is left out.
    Suite::named("portable").without("upsert").run_on_cluster(&cluster)
}
