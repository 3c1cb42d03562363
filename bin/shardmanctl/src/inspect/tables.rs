//! Sharded tables and on which nodes their partitions are.

use std::collections::BTreeMap;

use serde::Serialize;

use super::member::Member;
use crate::output::{or_dash, table};

/// One sharded table.
#[derive(Serialize)]
pub struct Table {
    pub schema: String,
    pub name: String,
    pub distribution_columns: Vec<String>,
    pub num_parts: i32,
    /// `schema.name` of the table whose partitions these stay with.
    pub colocated_with: Option<String>,
    /// Number of partitions by node id.
    pub parts_per_node: BTreeMap<i32, i64>,
}

// A colocated table need not be visible: names come from the catalog, not
// from regclass's output, which depends on search_path.
const TABLES: &str = "\
SELECT t.rel::oid, t.nspname::text, t.relname::text, t.distribution_columns::text[],
       t.nparts, (SELECT format('%s.%s', n.nspname, c.relname)
                  FROM pg_catalog.pg_class c
                  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.oid = t.colocated_with)
FROM shardman.sharded_tables t ORDER BY t.nspname, t.relname";

const PARTS: &str = "\
SELECT rel::oid, node_id, count(*) FROM shardman.parts GROUP BY rel, node_id";

/// Reads tables and shard map.
pub async fn read(member: &Member) -> anyhow::Result<Vec<Table>> {
    let mut parts: BTreeMap<u32, BTreeMap<i32, i64>> = BTreeMap::new();
    for row in member.rows(PARTS).await? {
        parts.entry(row.try_get(0)?).or_default().insert(row.try_get(1)?, row.try_get(2)?);
    }
    let mut tables = Vec::new();
    for row in member.rows(TABLES).await? {
        tables.push(Table {
            schema: row.try_get(1)?,
            name: row.try_get(2)?,
            distribution_columns: row.try_get(3)?,
            num_parts: row.try_get(4)?,
            colocated_with: row.try_get(5)?,
            parts_per_node: parts.remove(&row.try_get(0)?).unwrap_or_default(),
        });
    }
    Ok(tables)
}

/// The tables for people.
pub fn render(tables: &[Table]) -> String {
    if tables.is_empty() {
        return "no sharded tables".to_owned();
    }
    let mut rows = table(&["table", "distributed by", "parts", "colocated with", "parts on nodes"]);
    for table in tables {
        let per_node: Vec<String> = table
            .parts_per_node
            .iter()
            .map(|(node, count)| format!("node {node}: {count}"))
            .collect();
        rows.add_row([
            format!("{}.{}", table.schema, table.name),
            table.distribution_columns.join(", "),
            table.num_parts.to_string(),
            or_dash(table.colocated_with.clone()),
            per_node.join(", "),
        ]);
    }
    rows.to_string()
}
