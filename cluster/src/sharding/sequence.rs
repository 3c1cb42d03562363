//! A managed sequence, complete enough to make it again on another node.

use serde::{Deserialize, Serialize};

use super::quote_identifier;
use crate::SequenceId;

/// What is read of it on the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceDefinition {
    /// Its present life.
    pub sequence_id: SequenceId,
    /// The first value of this life.
    pub first: i64,
    /// Values that a node takes at a time.
    pub block_size: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `bigint`, `integer` or `smallint`.
    pub type_name: String,
    /// `START WITH`.
    pub start: i64,
    /// `INCREMENT BY`.
    pub increment: i64,
    /// `MINVALUE`.
    pub min: i64,
    /// `MAXVALUE`.
    pub max: i64,
    /// `CYCLE`.
    pub cycle: bool,
    /// The column that it belongs to, of the table that names it.
    pub column: Option<String>,
    /// That table, qualified and quoted.
    pub table: Option<String>,
    /// `ALWAYS` or `BY DEFAULT`, if that column is an identity column.
    pub identity: Option<String>,
    /// Statements for grants and comments.
    pub attachments: Vec<String>,
}

impl SequenceDefinition {
    /// Quoted and qualified.
    pub fn qualified_name(&self) -> String {
        format!("{}.{}", quote_identifier(&self.schema), quote_identifier(&self.name))
    }

    /// Makes it, owned by nothing yet.
    pub fn create_statement(&self) -> String {
        format!(
            "CREATE SEQUENCE {} AS {} {}",
            self.qualified_name(),
            self.type_name,
            self.parameters()
        )
    }

    /// Gives it to its column, if it has one.
    pub fn owned_by_statement(&self) -> Option<String> {
        let (table, column) = (self.table.as_ref()?, self.column.as_ref()?);
        let column = quote_identifier(column);
        Some(format!("ALTER SEQUENCE {} OWNED BY {table}.{column}", self.qualified_name()))
    }

    /// What makes a column an identity column with this sequence.
    pub fn identity_clause(&self) -> Option<String> {
        let kind = self.identity.as_ref()?;
        Some(format!(
            "GENERATED {kind} AS IDENTITY (SEQUENCE NAME {} {})",
            self.qualified_name(),
            self.parameters()
        ))
    }

    /// A block is the cache: PostgreSQL's own would keep values of a block that
    /// is over.
    fn parameters(&self) -> String {
        format!(
            "INCREMENT BY {} MINVALUE {} MAXVALUE {} START WITH {} CACHE 1 {}",
            self.increment,
            self.min,
            self.max,
            self.start,
            if self.cycle { "CYCLE" } else { "NO CYCLE" }
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn definition() -> SequenceDefinition {
        SequenceDefinition {
            sequence_id: SequenceId(9),
            first: 1,
            block_size: 4096,
            schema: "S".into(),
            name: "t_id_seq".into(),
            type_name: "integer".into(),
            start: 1,
            increment: 1,
            min: 1,
            max: 2_147_483_647,
            cycle: false,
            column: Some("id".into()),
            table: Some("\"S\".\"t\"".into()),
            identity: None,
            attachments: vec![],
        }
    }

    #[test]
    fn a_sequence_is_made_with_every_parameter_spelled_out() {
        let parameters =
            "INCREMENT BY 1 MINVALUE 1 MAXVALUE 2147483647 START WITH 1 CACHE 1 NO CYCLE";
        let serial = definition();
        assert_eq!(
            serial.create_statement(),
            format!("CREATE SEQUENCE \"S\".\"t_id_seq\" AS integer {parameters}")
        );
        assert_eq!(
            serial.owned_by_statement().unwrap(),
            "ALTER SEQUENCE \"S\".\"t_id_seq\" OWNED BY \"S\".\"t\".\"id\""
        );
        assert_eq!(serial.identity_clause(), None);
        let identity = SequenceDefinition { identity: Some("ALWAYS".into()), ..serial };
        assert_eq!(
            identity.identity_clause().unwrap(),
            format!("GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME \"S\".\"t_id_seq\" {parameters})")
        );
    }
}
