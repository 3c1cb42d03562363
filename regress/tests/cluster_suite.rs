//! The suite `cluster`: what only a cluster has. Catalog views, errors, EXPLAIN.

use regress::{Suite, TestCluster};

#[test]
fn cluster_suite() -> anyhow::Result<()> {
    let cluster = TestCluster::up(3)?;
    Suite::named("cluster").run_on_cluster(&cluster)
}
