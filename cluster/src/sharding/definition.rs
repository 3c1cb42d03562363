//! A sharded table, complete enough to make it again on another node.
//!
//! The definition is read from the coordinator's catalogs after the user's own
//! statement ran there, with every name qualified and every generated name
//! spelled out. So it means the same under any search_path, and the same path
//! serves CREATE TABLE and a node that joins later.

use serde::{Deserialize, Serialize};

use super::{LEAF_SCHEMA, LeafName, REMOTE_SCHEMA, SequenceDefinition, quote_identifier};
use crate::row_log::TableLog;
use crate::{NodeId, PartitionNumber, TableId};

/// One column, in attribute order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// As `format_type` prints it, qualified.
    pub type_name: String,
    /// Qualified and quoted, if not the type's own.
    pub collation: Option<String>,
    /// `NOT NULL`.
    pub not_null: bool,
    /// An expression as `pg_get_expr` prints it.
    pub default: Option<String>,
    /// Of a stored generated column.
    pub generated: Option<String>,
}

/// A constraint of the table, as `pg_get_constraintdef` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConstraintDefinition {
    /// Its name; also that of its index.
    pub name: String,
    /// `PRIMARY KEY (id)`, `CHECK ((a > 0))`, …
    pub definition: String,
}

/// A foreign key to another sharded table of the group, or to the table itself.
/// It is made when both tables have their leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKeyDefinition {
    /// Its name.
    pub name: String,
    /// As `pg_get_constraintdef` prints it, qualified.
    pub definition: String,
    /// The referenced table.
    pub references: TableId,
    /// `COMMENT ON CONSTRAINT`.
    pub comment: Option<String>,
}

/// A sharded table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDefinition {
    /// Given by the coordinator under the DDL lock.
    pub table_id: TableId,
    /// Of a replicated table: the log that carries its changes, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<TableLog>,
    /// Schema of the parent.
    pub schema: String,
    /// Name of the parent.
    pub name: String,
    /// The table's name in the names of its leaves: that of its creation.
    pub leaf_name: String,
    /// Columns in order.
    pub columns: Vec<ColumnDefinition>,
    /// Sequences that belong to columns.
    #[serde(default)]
    pub sequences: Vec<SequenceDefinition>,
    /// Check, primary key and unique constraints.
    pub constraints: Vec<ConstraintDefinition>,
    /// Made after the tables that they reference.
    #[serde(default)]
    pub foreign_keys: Vec<ForeignKeyDefinition>,
    /// `CREATE INDEX …` of every index that belongs to no constraint.
    pub indexes: Vec<String>,
    /// In order; empty for a replicated table.
    pub distribution_columns: Vec<String>,
    /// The group that the table founded or entered.
    pub group_id: TableId,
    /// The node of each partition, by number; its length is num_parts.
    pub placement: Vec<NodeId>,
    /// `fillfactor=70`, …: storage parameters for real leaves.
    pub leaf_options: Vec<String>,
    /// `ALTER TABLE … ALTER COLUMN … SET …`: statistics targets and the like,
    /// for all leaves.
    pub column_settings: Vec<String>,
    /// Statements for triggers, policies, grants, comments, …, which foreign
    /// leaves have no part in.
    pub attachments: Vec<String>,
}

impl TableDefinition {
    /// Whether it is an ordinary table with the same rows on every node: it has
    /// neither distribution columns nor leaves.
    pub fn is_replicated(&self) -> bool {
        self.distribution_columns.is_empty()
    }

    /// The parent, or the replicated table itself, with its sequences and
    /// indexes; without leaves.
    pub fn parent_statements(&self) -> Vec<String> {
        let columns = self.columns.iter().map(|column| {
            let mut clause = column.clause();
            let its = |s: &&SequenceDefinition| s.column.as_ref() == Some(&column.name);
            let identity = self.sequences.iter().filter(its).find_map(|s| s.identity_clause());
            if let Some(identity) = identity {
                clause += " ";
                clause += &identity;
            }
            clause
        });
        let constraints = self.constraints.iter().map(|constraint| {
            format!("CONSTRAINT {} {}", quote_identifier(&constraint.name), constraint.definition)
        });
        let elements: Vec<_> = columns.chain(constraints).collect();
        let keys: Vec<_> = self.distribution_columns.iter().map(|c| quote_identifier(c)).collect();
        let ending = match self.is_replicated() {
            true => self.storage_clause(),
            false => format!(" PARTITION BY HASH ({})", keys.join(", ")),
        };
        let create =
            format!("CREATE TABLE {} ({}){ending}", self.qualified_name(), elements.join(", "));
        let serial = || self.sequences.iter().filter(|s| s.identity.is_none());
        let sequences = serial().map(SequenceDefinition::create_statement);
        let owned = serial().filter_map(SequenceDefinition::owned_by_statement);
        let indexes = self.indexes.iter().cloned();
        sequences.chain([create]).chain(owned).chain(indexes).collect()
    }

    /// The real leaves of node `me`.
    pub fn local_leaf_statements(&self, me: NodeId) -> Vec<String> {
        let with = self.storage_clause();
        self.leaves(|node| node == me)
            .map(|leaf| {
                format!(
                    "CREATE TABLE {LEAF_SCHEMA}.{} {}{with}",
                    quote_identifier(leaf.as_str()),
                    self.partition_clause(leaf.partition),
                )
            })
            .collect()
    }

    /// The foreign leaves of node `me`.
    pub fn foreign_leaf_statements(&self, me: NodeId) -> Vec<String> {
        self.leaves(|node| node != me)
            .map(|leaf| {
                format!(
                    "CREATE FOREIGN TABLE {REMOTE_SCHEMA}.{} {} SERVER shardman",
                    quote_identifier(leaf.as_str()),
                    self.partition_clause(leaf.partition),
                )
            })
            .collect()
    }

    /// Storage parameters of what holds rows on this node.
    fn storage_clause(&self) -> String {
        match self.leaf_options.as_slice() {
            [] => String::new(),
            options => format!(" WITH ({})", options.join(", ")),
        }
    }

    /// The parent, quoted and qualified.
    pub fn qualified_name(&self) -> String {
        format!("{}.{}", quote_identifier(&self.schema), quote_identifier(&self.name))
    }

    /// The leaves that stand on nodes of which `on` is true.
    fn leaves<'a>(
        &'a self,
        on: impl Fn(NodeId) -> bool + 'a,
    ) -> impl Iterator<Item = LeafName> + 'a {
        (0u16..).zip(&self.placement).filter(move |(_, node)| on(**node)).map(|(number, _)| {
            LeafName::new(self.table_id, &self.leaf_name, PartitionNumber(number))
        })
    }

    fn partition_clause(&self, partition: PartitionNumber) -> String {
        format!(
            "PARTITION OF {} FOR VALUES WITH (MODULUS {}, REMAINDER {partition})",
            self.qualified_name(),
            self.placement.len(),
        )
    }
}

impl ColumnDefinition {
    fn clause(&self) -> String {
        let mut clause = format!("{} {}", quote_identifier(&self.name), self.type_name);
        if let Some(collation) = &self.collation {
            clause += &format!(" COLLATE {collation}");
        }
        if let Some(default) = &self.default {
            clause += &format!(" DEFAULT {default}");
        }
        if let Some(generated) = &self.generated {
            clause += &format!(" GENERATED ALWAYS AS ({generated}) STORED");
        }
        if self.not_null {
            clause += " NOT NULL";
        }
        clause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, type_name: &str) -> ColumnDefinition {
        ColumnDefinition {
            name: name.into(),
            type_name: type_name.into(),
            collation: None,
            not_null: false,
            default: None,
            generated: None,
        }
    }

    fn definition() -> TableDefinition {
        TableDefinition {
            log: None,
            table_id: TableId(7),
            schema: "S".into(),
            name: "t".into(),
            leaf_name: "t".into(),
            columns: vec![
                ColumnDefinition { not_null: true, ..column("id", "bigint") },
                ColumnDefinition {
                    collation: Some("pg_catalog.\"C\"".into()),
                    default: Some("'x'::text".into()),
                    ..column("Name", "text")
                },
                ColumnDefinition {
                    generated: Some("(id * 2)".into()),
                    ..column("twice", "bigint")
                },
            ],
            sequences: vec![],
            constraints: vec![ConstraintDefinition {
                name: "t_pkey".into(),
                definition: "PRIMARY KEY (id)".into(),
            }],
            foreign_keys: vec![],
            indexes: vec!["CREATE INDEX t_name ON \"S\".t USING btree (\"Name\")".into()],
            distribution_columns: vec!["id".into()],
            group_id: TableId(7),
            placement: vec![NodeId(2), NodeId(1), NodeId(2)],
            leaf_options: vec!["fillfactor=70".into()],
            column_settings: vec![],
            attachments: vec![],
        }
    }

    #[test]
    fn the_parent_carries_everything_but_leaves() {
        let statements = definition().parent_statements();
        assert_eq!(
            statements,
            [
                "CREATE TABLE \"S\".\"t\" (\"id\" bigint NOT NULL, \
                 \"Name\" text COLLATE pg_catalog.\"C\" DEFAULT 'x'::text, \
                 \"twice\" bigint GENERATED ALWAYS AS ((id * 2)) STORED, \
                 CONSTRAINT \"t_pkey\" PRIMARY KEY (id)) PARTITION BY HASH (\"id\")",
                "CREATE INDEX t_name ON \"S\".t USING btree (\"Name\")",
            ]
        );
    }

    #[test]
    fn sequences_come_before_the_defaults_that_draw_from_them() {
        let serial = crate::sharding::sequence::tests::definition();
        let identity = SequenceDefinition {
            name: "other".into(),
            column: Some("twice".into()),
            identity: Some("BY DEFAULT".into()),
            ..serial.clone()
        };
        let sequences = vec![serial, identity];
        let statements = TableDefinition { sequences, ..definition() }.parent_statements();
        assert_eq!(statements.len(), 4);
        assert!(statements[0].starts_with("CREATE SEQUENCE \"S\".\"t_id_seq\""));
        let generated = "GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME \"S\".\"other\"";
        assert!(statements[1].contains(generated));
        assert!(statements[2].ends_with("OWNED BY \"S\".\"t\".\"id\""));
    }

    #[test]
    fn each_partition_is_a_table_on_its_node_and_foreign_elsewhere() {
        let definition = definition();
        assert_eq!(
            definition.local_leaf_statements(NodeId(1)),
            ["CREATE TABLE shardman_data.\"shard_7_t_1\" PARTITION OF \"S\".\"t\" \
              FOR VALUES WITH (MODULUS 3, REMAINDER 1) WITH (fillfactor=70)"]
        );
        let foreign = definition.foreign_leaf_statements(NodeId(1));
        assert_eq!(foreign.len(), 2);
        assert_eq!(
            foreign[1],
            "CREATE FOREIGN TABLE shardman_remote.\"shard_7_t_2\" PARTITION OF \"S\".\"t\" \
             FOR VALUES WITH (MODULUS 3, REMAINDER 2) SERVER shardman"
        );
        assert!(definition.local_leaf_statements(NodeId(3)).is_empty());
    }
}
