//! What a dump must know of the sharded tables.

use crate::inspect::Member;

/// One sharded table, names as pg_dump prints them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardedTable {
    /// Quoted and qualified.
    pub name: String,
    /// Tables of one group stay together.
    pub group: i64,
    /// As `distributed_by` takes them.
    pub columns: String,
    /// `num_parts`.
    pub parts: i32,
    /// Elements of a WITH list.
    pub storage: Vec<String>,
    /// Columns that can be given values, as a list.
    pub stored_columns: String,
}

/// All of them, in the order of their creation.
pub struct Plan {
    pub tables: Vec<ShardedTable>,
}

const TABLES: &str = "\
SELECT format('%I.%I', n.nspname, c.relname), t.group_id,
       (SELECT string_agg(quote_ident(k), ', ' ORDER BY o) FROM unnest(t.distribution_columns) WITH ORDINALITY AS u(k, o)),
       t.num_parts, t.leaf_options,
       coalesce((SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
                 WHERE a.attrelid = t.rel AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''), '')
FROM shardman.sharded_table t
     JOIN pg_catalog.pg_class c ON c.oid = t.rel JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY t.table_id";

/// Statements that have every managed sequence go on after all that was given:
/// each draws a value that is beyond them.
pub const POSITIONS: &str = "\
SELECT format('SELECT pg_catalog.setval(%L, %s, false);', format('%I.%I', seqns, seqname), shardman.unused_value(rel))
FROM shardman.sequence;
";

impl Plan {
    /// Asks a member.
    pub async fn read(member: &Member) -> anyhow::Result<Self> {
        let mut tables = Vec::new();
        for row in member.rows(TABLES).await? {
            tables.push(ShardedTable {
                name: row.try_get(0)?,
                group: row.try_get(1)?,
                columns: row.try_get(2)?,
                parts: row.try_get(3)?,
                storage: row.try_get(4)?,
                stored_columns: row.try_get(5)?,
            });
        }
        Ok(Plan { tables })
    }

    /// A psql script that prints the rows of all sharded tables as one moment
    /// had them, as statements that load them.
    pub fn rows_script(&self) -> String {
        let mut script = String::from("BEGIN ISOLATION LEVEL REPEATABLE READ;\n");
        for table in self.tables.iter().filter(|table| !table.stored_columns.is_empty()) {
            let ShardedTable { name, stored_columns, .. } = table;
            script += &format!(
                "\\qecho 'COPY {} ({}) FROM stdin;'\n",
                echoed(name),
                echoed(stored_columns)
            );
            script += &format!("COPY (SELECT {stored_columns} FROM {name}) TO STDOUT;\n");
            script += "\\qecho '\\\\.'\n";
        }
        script + "COMMIT;\n"
    }
}

/// For a single-quoted argument of psql.
fn echoed(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}
