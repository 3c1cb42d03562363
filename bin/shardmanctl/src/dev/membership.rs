//! From running servers to one cluster: the extension, the first node, the
//! others, and the wait until every node knows every node as active.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio_postgres::Client;

use super::cluster::Cluster;
use super::state::Node;
use crate::connect;
use crate::output::Output;

/// Between two looks at a catalog view, which has no event to wait for.
const POLL: Duration = Duration::from_millis(100);
const CONNECT_BOUND: Duration = Duration::from_secs(10);

/// Joins every server that is not a member yet and waits until every node sees
/// all of them as active. Repeating it is harmless.
pub fn form(cluster: &mut Cluster, output: Output, timeout: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + timeout;
    connect::runtime()?.block_on(async {
        for index in 0..cluster.state.nodes.len() {
            let node = &cluster.state.nodes[index];
            if node.member_id.is_some() {
                continue;
            }
            let number = node.number;
            let joined = join(cluster, index, output, deadline).await;
            let id = joined.with_context(|| {
                // Before the error, which is the last thing a person reads.
                let tail = cluster.server(node).log_tail();
                eprintln!("the log of node {number} ends with\n{tail}");
                format!("node {number} did not become a member")
            })?;
            cluster.state.nodes[index].member_id = Some(id);
            cluster.state.save(&cluster.dir)?;
        }
        for node in &cluster.state.nodes {
            wait_until_all_are_active(cluster, node, deadline).await?;
        }
        Ok(())
    })
}

/// Makes the server at `index` a member: founds the cluster if it is the first.
async fn join(
    cluster: &Cluster,
    index: usize,
    output: Output,
    deadline: Instant,
) -> anyhow::Result<i32> {
    let node = &cluster.state.nodes[index];
    let client = session(node).await?;
    create_extension(&client).await?;
    if let Some(id) = own_id(&client).await {
        return Ok(id);
    }
    let founder = cluster.state.nodes.iter().find(|other| other.member_id.is_some());
    let (through, statement, argument) = match founder {
        None => {
            output.progress("founding the cluster on node 1 …");
            (node, "SELECT shardman.create_cluster($1)", cluster.state.address(node))
        }
        Some(member) => {
            output.progress(&format!("joining node {} …", node.number));
            (
                member,
                "SELECT shardman.add_node($1)",
                format!("{} user=postgres", cluster.state.address(node)),
            )
        }
    };
    let client = session(through).await?;
    let row = bounded(deadline, statement, client.query_one(statement, &[&argument])).await?;
    row.try_get(0).context("the node's id is not an integer")
}

async fn create_extension(client: &Client) -> anyhow::Result<()> {
    let statement = "CREATE EXTENSION IF NOT EXISTS shardman";
    client.batch_execute(statement).await.map_err(|error| {
        anyhow::anyhow!("could not create the extension: {}", connect::describe(&error))
    })
}

/// The node's id if it is a member already. Before that the function may
/// answer NULL or refuse; both mean no.
async fn own_id(client: &Client) -> Option<i32> {
    let row = client.query_one("SELECT shardman.my_id()", &[]).await.ok()?;
    row.try_get(0).ok()
}

async fn wait_until_all_are_active(
    cluster: &Cluster,
    node: &Node,
    deadline: Instant,
) -> anyhow::Result<()> {
    let expected = i64::try_from(cluster.state.nodes.len()).context("too many nodes")?;
    loop {
        let seen = view_of(node).await;
        if matches!(seen, Ok((count, true)) if count == expected) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let tail = cluster.server(node).log_tail();
            let number = node.number;
            match seen {
                Ok((count, knows_leader)) => bail!(
                    "node {number} sees {count} of {expected} nodes as active and {} leader; its \
                     log ends with\n{tail}",
                    if knows_leader { "a" } else { "no" }
                ),
                Err(error) => {
                    bail!("node {number} does not answer: {error:#}; its log ends with\n{tail}")
                }
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// How many nodes are active in the eyes of `node`, and whether it knows a
/// leader: without one, no metadata could change yet.
async fn view_of(node: &Node) -> anyhow::Result<(i64, bool)> {
    let client = session(node).await?;
    let statement = "SELECT count(*) FILTER (WHERE state = 'active'), \
         (SELECT count(leader) > 0 FROM shardman.raft_status) FROM shardman.nodes";
    let query = client.query_one(statement, &[]);
    let row = bounded(Instant::now() + CONNECT_BOUND, statement, query).await?;
    Ok((
        row.try_get(0).context("the count is not an integer")?,
        row.try_get(1).context("whether there is a leader is not a boolean")?,
    ))
}

async fn session(node: &Node) -> anyhow::Result<Client> {
    connect::open(&connect::parse(&node.connstr())?, CONNECT_BOUND).await
}

async fn bounded<T>(
    deadline: Instant,
    statement: &str,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> anyhow::Result<T> {
    match tokio::time::timeout_at(deadline.into(), work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => bail!("{statement}: {}", connect::describe(&error)),
        Err(_) => bail!("{statement}: no answer in time"),
    }
}
