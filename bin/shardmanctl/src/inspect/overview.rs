//! The cluster as one node sees it: its log, its leader, its nodes.

use serde::Serialize;

use super::member::Member;
use super::nodes::{self, Node};
use crate::output::{Output, or_dash};

#[derive(Serialize)]
struct Overview {
    /// The node that was asked: everything here is its view.
    asked_node: i32,
    raft: Option<Raft>,
    nodes: Vec<Node>,
    sharded_tables: i64,
}

#[derive(Serialize)]
struct Raft {
    state: String,
    term: Option<i64>,
    leader: Option<i32>,
    last_log_index: Option<i64>,
    applied_index: Option<i64>,
    voters: Vec<i32>,
    learners: Vec<i32>,
}

const RAFT: &str = "\
SELECT state::text, term, leader, last_log_index, applied_index,
       coalesce(voters, '{}'), coalesce(learners, '{}')
FROM shardman.raft_status";

/// Reads and prints it.
pub async fn show(member: &Member, output: Output) -> anyhow::Result<()> {
    let raft = match member.rows(RAFT).await?.first() {
        Some(row) => Some(Raft {
            state: row.try_get(0)?,
            term: row.try_get(1)?,
            leader: row.try_get(2)?,
            last_log_index: row.try_get(3)?,
            applied_index: row.try_get(4)?,
            voters: row.try_get(5)?,
            learners: row.try_get(6)?,
        }),
        None => None,
    };
    let tables = member.one("SELECT count(*) FROM shardman.sharded_tables").await?;
    let overview = Overview {
        asked_node: member.id,
        raft,
        nodes: nodes::read(member).await?,
        sharded_tables: tables.try_get(0)?,
    };
    output.print(&overview, render)
}

fn render(overview: &Overview) -> String {
    let mut text = format!("asked node {}\n", overview.asked_node);
    match &overview.raft {
        Some(raft) => text.push_str(&format!(
            "leader {}, term {}; here: {}, log {}, applied {}\n",
            or_dash(raft.leader),
            or_dash(raft.term),
            raft.state,
            or_dash(raft.last_log_index),
            or_dash(raft.applied_index),
        )),
        None => text.push_str("no metadata log on this node\n"),
    }
    let reachable = overview.nodes.iter().filter(|node| node.reachable).count();
    text.push_str(&format!(
        "{} sharded tables; {reachable} of {} nodes reachable\n\n{}",
        overview.sharded_tables,
        overview.nodes.len(),
        nodes::render(&overview.nodes)
    ));
    text
}
