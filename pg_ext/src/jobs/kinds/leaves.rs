//! This node's leaves of a sharded table, and their indexes.

use cluster::TableId;
use cluster::sharding::LeafName;
use pgrx::prelude::*;

use crate::jobs::{top_level, work};
use crate::report::Report;

/// A real leaf on this node.
pub struct Leaf {
    /// What its name says.
    pub name: LeafName,
    /// Qualified and quoted.
    pub qualified: String,
}

/// This node's leaves of a table, by name; none if the table is gone.
pub fn leaves_of(table: TableId) -> Result<Vec<Leaf>, Report> {
    let rows = rows(
        "SELECT c.relname::pg_catalog.text, pg_catalog.format('%I.%I', n.nspname, c.relname)
         FROM shardman.sharded_table AS t
              JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) t.rel
              JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
              JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
         WHERE t.table_id OPERATOR(pg_catalog.=) $1 AND c.relkind OPERATOR(pg_catalog.=) 'r'
         ORDER BY 1",
        table.0 as i64,
    )?;
    let leaf = |(name, qualified): (String, String)| {
        Some(Leaf { name: LeafName::parse(&name)?, qualified })
    };
    Ok(rows.into_iter().filter_map(leaf).collect())
}

/// An index of a leaf that is no part of an index of the parent.
pub struct LooseIndex {
    /// Its name, unquoted.
    pub name: String,
    /// Whether its build ended.
    pub is_valid: bool,
}

/// Indexes of this node's leaves of a table that are no parts of an index of
/// the parent, by name.
pub fn loose_indexes_of(table: TableId) -> Result<Vec<LooseIndex>, Report> {
    let rows = rows(
        "SELECT x.relname::pg_catalog.text,
                CASE WHEN d.indisvalid AND d.indisready THEN 't' ELSE 'f' END
         FROM shardman.sharded_table AS t
              JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) t.rel
              JOIN pg_catalog.pg_index AS d ON d.indrelid OPERATOR(pg_catalog.=) i.inhrelid
              JOIN pg_catalog.pg_class AS x ON x.oid OPERATOR(pg_catalog.=) d.indexrelid
         WHERE t.table_id OPERATOR(pg_catalog.=) $1 AND NOT x.relispartition
         ORDER BY 1",
        table.0 as i64,
    )?;
    let index = |(name, is_valid)| LooseIndex { name, is_valid: is_valid == "t" };
    Ok(rows.into_iter().map(index).collect())
}

/// Names of the indexes of this node's leaves that are parts of an index of the
/// parent, given qualified and quoted.
pub fn leaf_indexes_of(index: &str) -> Result<Vec<String>, Report> {
    work::in_transaction(|| {
        let found = Spi::get_one_with_args::<Vec<String>>(
            "SELECT pg_catalog.array_agg(c.relname::pg_catalog.text ORDER BY c.relname)
             FROM pg_catalog.pg_inherits AS i
                  JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
             WHERE i.inhparent OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)",
            &[index.into()],
        )?;
        Ok(found.unwrap_or_default())
    })
}

/// Drops such an index, whatever state it is in.
pub fn drop_loose_index(index: &str) -> Result<(), Report> {
    let index = cluster::sharding::quote_identifier(index);
    top_level::run(&format!("DROP INDEX CONCURRENTLY IF EXISTS shardman_data.{index}"))
}

fn rows(query: &str, table: i64) -> Result<Vec<(String, String)>, Report> {
    work::in_transaction(|| {
        Spi::connect(|client| {
            let rows = client.select(query, None, &[table.into()])?;
            let read = |row: pgrx::spi::SpiHeapTupleData<'_>| {
                let value = |at| row.get::<String>(at).map(Option::unwrap_or_default);
                Ok::<_, Report>((value(1)?, value(2)?))
            };
            rows.map(read).collect()
        })
    })
}
