//! The nodes of the cluster, and whether each of them answers.

use anyhow::Context;
use comfy_table::Table;
use serde::Serialize;
use tokio_postgres::Config;

use super::member::Member;
use crate::connect;
use crate::output::{or_dash, table};

/// One node as the asked member knows it, and as it answered us.
#[derive(Clone, Serialize)]
pub struct Node {
    pub id: i32,
    pub name: String,
    pub connstr: String,
    pub state: String,
    pub raft_role: Option<String>,
    pub system_identifier: i64,
    pub reachable: bool,
    /// Why not, if not.
    pub unreachable_reason: Option<String>,
    /// Partitions that the shard map places there.
    pub parts: i64,
}

const STATEMENT: &str = "\
SELECT n.id, n.name, n.connstr, n.state::text, n.raft_role::text, n.system_identifier,
       (SELECT count(*) FROM shardman.parts p WHERE p.node_id = n.id)
FROM shardman.nodes n ORDER BY n.id";

/// Reads the nodes and tries each of them at the same time.
pub async fn read(member: &Member) -> anyhow::Result<Vec<Node>> {
    let mut probes = Vec::new();
    for row in member.rows(STATEMENT).await? {
        let mut node = Node {
            id: row.try_get(0)?,
            name: row.try_get(1)?,
            connstr: row.try_get(2)?,
            state: row.try_get(3)?,
            raft_role: row.try_get(4)?,
            system_identifier: row.try_get(5)?,
            parts: row.try_get(6)?,
            reachable: false,
            unreachable_reason: None,
        };
        let probe = probe(member, &node.connstr);
        probes.push(tokio::spawn(async move {
            match probe.await {
                Ok(()) => node.reachable = true,
                Err(error) => node.unreachable_reason = Some(format!("{error:#}")),
            }
            node
        }));
    }
    let mut nodes = Vec::new();
    for probe in probes {
        nodes.push(probe.await.context("a probe of a node was lost")?);
    }
    Ok(nodes)
}

/// Logs in at `connstr` as the user of our own session and runs one query.
fn probe(
    member: &Member,
    connstr: &str,
) -> impl Future<Output = anyhow::Result<()>> + Send + 'static {
    let config = connect::parse(connstr).map(|address| as_user_of(&member.config, address));
    let timeout = member.connect_timeout;
    async move {
        let client = connect::open(&config?, timeout).await?;
        match tokio::time::timeout(timeout, client.simple_query("SELECT 1")).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => anyhow::bail!("{}", connect::describe(&error)),
            Err(_) => anyhow::bail!("no answer within {} s", timeout.as_secs()),
        }
    }
}

/// `address` with the user and password of `ours`.
fn as_user_of(ours: &Config, mut address: Config) -> Config {
    if let Some(user) = ours.get_user() {
        address.user(user);
    }
    if let Some(password) = ours.get_password() {
        address.password(password);
    }
    address
}

/// The nodes as a table, with a line for each reason.
pub fn render(nodes: &[Node]) -> Table {
    let mut table =
        table(&["id", "name", "state", "raft role", "reachable", "parts", "connection string"]);
    for node in nodes {
        let reachable = match &node.unreachable_reason {
            Some(reason) => format!("no: {reason}"),
            None => "yes".to_owned(),
        };
        table.add_row([
            node.id.to_string(),
            node.name.clone(),
            node.state.clone(),
            or_dash(node.raft_role.clone()),
            reachable,
            node.parts.to_string(),
            node.connstr.clone(),
        ]);
    }
    table
}
