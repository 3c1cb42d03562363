//! What there is to draw statements from: tables, columns, constraints, indexes,
//! triggers and keys, as the plain server tells.
//!
//! A generator that knows it draws statements that succeed.

use super::prng::Prng;
use crate::session::Session;

/// Types of distribution columns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    Int,
    BigInt,
    Text,
    Uuid,
    Date,
    Numeric,
}

impl KeyType {
    /// All of them; integers are the most common.
    pub const ALL: &[KeyType] = &[
        KeyType::Int,
        KeyType::Int,
        KeyType::BigInt,
        KeyType::Text,
        KeyType::Uuid,
        KeyType::Date,
        KeyType::Numeric,
    ];

    /// As in a column definition.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::BigInt => "bigint",
            Self::Text => "text",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Numeric => "numeric",
        }
    }

    /// The key of the number that the SQL expression `number` gives.
    pub fn of(self, number: &str) -> String {
        match self {
            Self::Int => format!("({number})::int"),
            Self::BigInt => format!("(({number})::bigint * 1000000007)"),
            Self::Text => format!("('k' || ({number}))"),
            Self::Uuid => {
                format!("lpad(({number})::text, 32, '0')::uuid")
            }
            Self::Date => format!("('2024-02-20'::date + ({number}))"),
            Self::Numeric => format!("(({number}) / 4.0)::numeric(10,2)"),
        }
    }
}

/// A column that is no part of its table's key.
pub struct Column {
    /// Quoted.
    pub name: String,
    /// As `format_type` prints it.
    pub type_name: String,
    /// NULL is refused.
    pub is_not_null: bool,
    /// Has a default.
    pub has_default: bool,
    /// Can be assigned to.
    pub is_generated: bool,
}

/// A constraint.
pub struct Constraint {
    /// Quoted.
    pub name: String,
    /// `pg_constraint.contype`
    pub kind: String,
    /// Is a foreign key that changes referencing rows.
    pub acts: bool,
    /// Is not validated.
    pub is_not_valid: bool,
}

/// A table.
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The columns of its primary key, the distribution columns first.
    pub key: &'static [&'static str],
    /// How many of them are distribution columns.
    pub n_distribution: usize,
    /// Other columns.
    pub columns: Vec<Column>,
    /// Its constraints.
    pub constraints: Vec<Constraint>,
    /// Indexes that belong to no constraint, quoted.
    pub indexes: Vec<String>,
    /// Its triggers, quoted.
    pub triggers: Vec<String>,
    /// Rows' keys: literals for the columns of `key`.
    pub keys: Vec<Vec<String>>,
}

/// The tables' names, keys and numbers of distribution columns.
const TABLES: &[(&str, &[&str], usize)] =
    &[("a", &["id"], 1), ("b", &["id", "n"], 1), ("c", &["k", "l"], 2)];

/// Everything.
pub struct Present {
    /// The type of `a.id` and `b.id`.
    pub key_type: KeyType,
    /// The tables `a`, `b` and `c`.
    pub tables: Vec<Table>,
}

impl Present {
    /// Asks a server.
    pub fn of(session: &Session, key_type: KeyType) -> anyhow::Result<Self> {
        let mut tables = Vec::new();
        for (name, key, n_distribution) in TABLES {
            tables.push(Table::of(session, name, key, *n_distribution)?);
        }
        Ok(Self { key_type, tables })
    }

    /// One of the tables.
    pub fn table(&self, prng: &mut Prng) -> &Table {
        prng.pick(&self.tables)
    }

    /// The table of that name.
    pub fn named(&self, name: &str) -> &Table {
        self.tables.iter().find(|table| table.name == name).unwrap_or(&self.tables[0])
    }
}

impl Table {
    fn of(
        session: &Session,
        name: &'static str,
        key: &'static [&'static str],
        n_distribution: usize,
    ) -> anyhow::Result<Self> {
        let rows = |sql: &str| -> anyhow::Result<Vec<Vec<String>>> {
            let rows = session.rows(sql)?.into_iter();
            Ok(rows.map(|row| row.into_iter().map(Option::unwrap_or_default).collect()).collect())
        };
        let columns = rows(&format!(
            "SELECT attname, quote_ident(attname), format_type(atttypid, atttypmod), attnotnull, atthasdef,
                    attgenerated <> '' FROM pg_attribute
             WHERE attrelid = '{name}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        ))?;
        let columns = columns.into_iter().filter(|row| !key.contains(&row[0].as_str()));
        let constraints = rows(&format!(
            "SELECT quote_ident(conname), contype,
                    contype = 'f' AND NOT (confupdtype IN ('a', 'r') AND confdeltype IN ('a', 'r')), NOT convalidated
             FROM pg_constraint WHERE conrelid = '{name}'::regclass AND contype IN ('c', 'u', 'f') ORDER BY conname"
        ))?;
        let keys: Vec<String> =
            key.iter().map(|column| format!("quote_literal({column})")).collect();
        Ok(Self {
            name,
            key,
            n_distribution,
            columns: columns
                .map(|row| Column {
                    name: row[1].clone(),
                    type_name: row[2].clone(),
                    is_not_null: row[3] == "t",
                    has_default: row[4] == "t",
                    is_generated: row[5] == "t",
                })
                .collect(),
            constraints: constraints
                .into_iter()
                .map(|row| Constraint {
                    name: row[0].clone(),
                    kind: row[1].clone(),
                    acts: row[2] == "t",
                    is_not_valid: row[3] == "t",
                })
                .collect(),
            indexes: rows(&format!(
                "SELECT quote_ident(c.relname) FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
                 WHERE i.indrelid = '{name}'::regclass
                   AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid) ORDER BY 1"
            ))?
            .concat(),
            triggers: rows(&format!(
                "SELECT quote_ident(tgname) FROM pg_trigger
                 WHERE tgrelid = '{name}'::regclass AND NOT tgisinternal ORDER BY 1"
            ))?
            .concat(),
            keys: rows(&format!("SELECT {} FROM {name} ORDER BY {}", keys.join(", "), key.join(", ")))?,
        })
    }

    /// Columns that may be assigned to.
    pub fn assignable(&self) -> Vec<&Column> {
        self.columns.iter().filter(|column| !column.is_generated).collect()
    }

    /// Conditions that hold for the row with this key.
    pub fn is_row(&self, prefix: &str, key: &[String]) -> String {
        let parts =
            self.key.iter().zip(key).map(|(column, value)| format!("{prefix}{column} = {value}"));
        parts.collect::<Vec<_>>().join(" AND ")
    }

    /// Conditions that hold for the rows with the distribution columns of this key.
    pub fn is_place(&self, prefix: &str, key: &[String]) -> String {
        let columns = &self.key[..self.n_distribution];
        let parts =
            columns.iter().zip(key).map(|(column, value)| format!("{prefix}{column} = {value}"));
        parts.collect::<Vec<_>>().join(" AND ")
    }
}
