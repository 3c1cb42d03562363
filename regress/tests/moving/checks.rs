//! What holds after any move.

use std::time::Duration;

use anyhow::{bail, ensure};
use regress::{TestCluster, eventually};

/// For the recovery workers to end what a crash has left, on a loaded machine.
const SETTLED_WITHIN: Duration = Duration::from_secs(100);

/// On these nodes, all of the cluster, every row is in the leaf that its hash says,
/// leaves are whole tables, and nothing is left of moves.
pub fn check_rows(cluster: &TestCluster, nodes: &[u16]) -> anyhow::Result<()> {
    let mut digests = Vec::new();
    for node in nodes {
        let session = cluster.session(*node)?;
        let slots = session.rows("SELECT slot_name FROM pg_replication_slots")?;
        ensure!(slots.is_empty(), "node {node} keeps WAL for {slots:?}");
        let leaves = session.rows(
            "SELECT c.oid::regclass::text, pg_get_partition_constraintdef(c.oid)
             FROM pg_class AS c WHERE relnamespace = 'shardman_data'::regnamespace AND relkind = 'r'",
        )?;
        for leaf in &leaves {
            let [Some(name), Some(bound)] = leaf.as_slice() else { bail!("no bound: {leaf:?}") };
            let strays =
                session.integer(&format!("SELECT count(*) FROM {name} WHERE NOT {bound}"))?;
            ensure!(strays == 0, "{strays} rows of {name} on node {node} belong elsewhere");
        }
        let own = session.rows(
            "SELECT p.part_name FROM shardman.parts AS p WHERE p.node_id = shardman.my_id() ORDER BY 1",
        )?;
        ensure!(own.len() == leaves.len(), "node {node} has {leaves:?}, not {own:?}");
        digests.push(session.value("SELECT shardman.schema_digest()")?);
    }
    let left = cluster.session(1)?.rows("SELECT * FROM shardman.leftovers()")?;
    ensure!(left.is_empty(), "left: {left:?}");
    ensure!(digests.windows(2).all(|pair| pair[0] == pair[1]), "schemas differ");
    Ok(())
}

/// Waits until no transaction of these nodes is in doubt.
pub fn nothing_is_prepared(cluster: &TestCluster, nodes: &[u16]) -> anyhow::Result<()> {
    eventually("nothing is prepared any more", SETTLED_WITHIN, || {
        let mut prepared = 0;
        for node in nodes {
            prepared +=
                cluster.session(*node)?.integer("SELECT count(*) FROM pg_prepared_xacts")?;
        }
        Ok((prepared == 0).then_some(()))
    })
}
