//! Questions to a cluster, asked of any one node.
//!
//! - [`overview`]: the cluster as one node sees it;
//! - [`nodes`]: the nodes and whether they answer;
//! - [`tables`]: sharded tables and the nodes of their partitions.

mod member;
mod nodes;
mod overview;
mod removal;
mod tables;

use crate::cli::{RmArguments, Target};
use crate::connect;
use crate::output::Output;
pub use member::Member;

/// `shardmanctl status`.
pub fn status(target: &Target, output: Output) -> anyhow::Result<()> {
    connect::runtime()?.block_on(async {
        let member = open(target).await?;
        overview::show(&member, output).await
    })
}

/// `shardmanctl nodes rm`.
pub fn remove_node(arguments: &RmArguments, output: Output) -> anyhow::Result<()> {
    connect::runtime()?.block_on(async {
        let member = open(&arguments.target).await?;
        removal::remove(&member, arguments.id, arguments.force, output).await
    })
}

/// `shardmanctl nodes`.
pub fn nodes(target: &Target, output: Output) -> anyhow::Result<()> {
    connect::runtime()?.block_on(async {
        let member = open(target).await?;
        let nodes = nodes::read(&member).await?;
        output.print(&nodes, |nodes| nodes::render(nodes).to_string())
    })
}

/// `shardmanctl tables`.
pub fn tables(target: &Target, output: Output) -> anyhow::Result<()> {
    connect::runtime()?.block_on(async {
        let member = open(target).await?;
        let tables = tables::read(&member).await?;
        output.print(&tables, |tables| tables::render(tables))
    })
}

/// A session with the node that was named.
pub async fn open(target: &Target) -> anyhow::Result<Member> {
    Member::open(connect::parse(&target.connstr()?)?, target.connect_timeout).await
}
