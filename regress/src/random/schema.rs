//! Tables of every shape, and their rows.

use super::prng::Prng;
use super::values::{CREATE_MOOD, Type, quoted};

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Type,
    /// Set by no statement: it identifies the row or is generated.
    pub is_fixed: bool,
    /// Never written to, not even by INSERT.
    pub is_generated: bool,
    is_required: bool,
    default: Option<String>,
}

/// A table. Its first column is `id`, unique together with the others of `key`.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Columns of the primary key; empty if there is none.
    pub key: Vec<String>,
    distributed_by: String,
    parts: usize,
    colocated_with: Option<String>,
    has_index: bool,
    rows: Vec<Vec<Option<String>>>,
}

/// What a seed's statements are about.
pub struct Schema {
    /// The tables.
    pub tables: Vec<Table>,
}

impl Schema {
    /// Two to four tables.
    pub fn draw(prng: &mut Prng) -> Self {
        let mut tables: Vec<Table> = Vec::new();
        for number in 0..2 + prng.below(3) {
            let table = Table::draw(prng, number, &tables);
            tables.push(table);
        }
        Self { tables }
    }

    /// Statements for each node before all others.
    pub fn on_each_node() -> Vec<String> {
        vec![CREATE_MOOD.to_owned()]
    }

    /// Statements that make the tables, once; `is_sharded` on a cluster.
    pub fn create(&self, is_sharded: bool) -> Vec<String> {
        let mut all = Vec::new();
        for table in &self.tables {
            all.push(table.create(is_sharded));
            if table.has_index
                && let Some(last) = table.columns.last()
            {
                all.push(format!("CREATE INDEX ON {} ({})", table.name, last.name));
            }
        }
        all
    }

    /// Statements that make the tables, without keys, as foreign ones of `server`.
    pub fn create_foreign(&self, server: &str) -> Vec<String> {
        let foreign = |table: &Table| {
            let items: Vec<String> = table.columns.iter().map(Column::item).collect();
            let name = &table.name;
            format!(
                "CREATE FOREIGN TABLE {name} ({}) SERVER {server} OPTIONS (schema_name 'public')",
                items.join(", ")
            )
        };
        self.tables.iter().map(foreign).collect()
    }

    /// Statements that fill the tables.
    pub fn fill(&self) -> Vec<String> {
        self.tables.iter().map(Table::fill).collect()
    }
}

impl Column {
    /// As CREATE TABLE has it.
    fn item(&self) -> String {
        let mut item = format!("{} {}", self.name, self.kind.definition());
        if self.is_generated {
            item.push_str(" GENERATED ALWAYS AS (id * 2) STORED");
        }
        if self.is_required {
            item.push_str(" NOT NULL");
        }
        if let Some(default) = &self.default {
            item.push_str(&format!(" DEFAULT {default}"));
        }
        item
    }
}

impl Table {
    fn draw(prng: &mut Prng, number: usize, others: &[Table]) -> Self {
        let column = |name: String, kind, is_fixed, is_required| Column {
            name,
            kind,
            is_fixed,
            is_generated: false,
            is_required,
            default: None,
        };
        let mut columns = vec![column("id".to_owned(), Type::Int, true, true)];
        let mut key = vec!["id".to_owned()];
        let mut colocated_with = None;
        let mut distributed_by = "id".to_owned();
        // By its id, by another column of the key, or by one that may be NULL.
        let shape = prng.below(4);
        if shape > 0 {
            let mut kind = *prng.pick(Type::KEYS);
            if prng.one_in(2)
                && let Some(other) = others.iter().find(|t| t.colocated_with.is_none())
                && let Some(same) = other.columns.iter().find(|c| c.name == other.distributed_by)
            {
                kind = same.kind;
                colocated_with = Some(other.name.clone());
            }
            columns.push(column("k".to_owned(), kind, true, shape < 3));
            distributed_by = "k".to_owned();
            match shape {
                1 | 2 => key = vec!["k".to_owned(), "id".to_owned()],
                _ => key.clear(),
            }
        }
        for i in 0..2 + prng.below(5) {
            let kinds = if prng.one_in(2) { Type::ALL } else { Type::COMMON };
            let kind = *prng.pick(kinds);
            let mut new = column(format!("c{i}"), kind, false, prng.one_in(5));
            if prng.one_in(4) {
                new.default = Some(format!("{}::{}", quoted(&kind.draw(prng)), kind.name()));
            }
            columns.push(new);
        }
        if prng.one_in(4) {
            let mut new = column("g".to_owned(), Type::Int, true, false);
            new.is_generated = true;
            columns.push(new);
        }
        let n_rows = prng.below(60);
        let mut table = Self {
            name: format!("t{number}"),
            columns,
            key,
            distributed_by,
            parts: 2 + prng.below(6),
            colocated_with,
            has_index: prng.one_in(3),
            rows: Vec::new(),
        };
        table.rows = (0..n_rows).map(|id| table.draw_row(prng, id)).collect();
        table
    }

    /// The column that decides where a row is.
    pub fn distribution_column(&self) -> &Column {
        let found = self.columns.iter().find(|c| c.name == self.distributed_by);
        found.unwrap_or(&self.columns[0])
    }

    /// Whether rows of the two with the same distribution column are together;
    /// not of a table with itself.
    pub fn is_colocated_with(&self, other: &Table) -> bool {
        let founder = |t: &Table| t.colocated_with.clone().unwrap_or_else(|| t.name.clone());
        self.name != other.name && founder(self) == founder(other)
    }

    /// The values of a new row, one for each column that is not generated.
    pub fn draw_row(&self, prng: &mut Prng, id: usize) -> Vec<Option<String>> {
        let columns = self.columns.iter().filter(|c| !c.is_generated);
        columns
            .map(|c| match c.name.as_str() {
                "id" => Some(id.to_string()),
                _ if !c.is_required && prng.one_in(5) => None,
                _ => Some(c.kind.draw(prng)),
            })
            .collect()
    }

    fn create(&self, is_sharded: bool) -> String {
        let mut items: Vec<String> = self.columns.iter().map(Column::item).collect();
        if !self.key.is_empty() {
            items.push(format!("PRIMARY KEY ({})", self.key.join(", ")));
        }
        let mut sql = format!("CREATE TABLE {} ({})", self.name, items.join(", "));
        if is_sharded {
            let rest = match &self.colocated_with {
                Some(other) => format!("colocate_with = '{other}'"),
                None => format!("num_parts = {}", self.parts),
            };
            sql.push_str(&format!(" WITH (distributed_by = '{}', {rest})", self.distributed_by));
        }
        sql
    }

    /// `(a, b)`: the columns that an INSERT names.
    pub fn written_columns(&self) -> String {
        let columns = self.columns.iter().filter(|c| !c.is_generated);
        columns.map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn fill(&self) -> String {
        if self.rows.is_empty() {
            return "SELECT 1".to_owned();
        }
        let rows: Vec<String> = self.rows.iter().map(|row| values_row(row)).collect();
        format!("INSERT INTO {} ({}) VALUES {}", self.name, self.written_columns(), rows.join(", "))
    }
}

/// `(1, 'a', NULL)`.
pub fn values_row(row: &[Option<String>]) -> String {
    let values: Vec<String> =
        row.iter().map(|v| v.as_deref().map_or("NULL".to_owned(), quoted)).collect();
    format!("({})", values.join(", "))
}
