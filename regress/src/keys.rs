//! Keys whose rows belong to a chosen node.

use anyhow::Context;

use crate::TestCluster;

/// The lowest positive keys, in order, of a table with one integer distribution
/// column whose rows belong to node `node`.
pub fn keys_on_node(cluster: &TestCluster, table: &str, node: u16) -> anyhow::Result<Vec<i64>> {
    let rows = cluster.session(node)?.rows(&format!(
        "SELECT i FROM generate_series(1, 200) AS i, shardman.parts AS p,
                shardman.sharded_tables AS t
         WHERE p.rel = '{table}'::regclass AND t.rel = p.rel AND p.node_id = shardman.my_id()
           AND satisfies_hash_partition(p.rel, t.nparts, p.pnum, i) ORDER BY i"
    ))?;
    let keys = rows.into_iter().flatten().flatten().map(|key| key.parse());
    keys.collect::<Result<_, _>>().context("keys are integers")
}

/// The lowest of them.
pub fn key_on_node(cluster: &TestCluster, table: &str, node: u16) -> anyhow::Result<i64> {
    let keys = keys_on_node(cluster, table, node)?;
    keys.first().copied().with_context(|| format!("no row of {table} belongs to node {node}"))
}
