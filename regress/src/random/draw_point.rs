//! Draws point statements: fixed to one value of the distribution column, and
//! run for many values as one prepared statement or each by itself.

use super::generator::{Generator, Scope, scope_of};
use super::schema::{Table, values_row};
use super::values::{Type, quoted};

/// More than PostgreSQL tries before it settles for a generic plan.
const EXECUTIONS: usize = 8;
/// Ids of rows that these statements make.
const FIRST_ID: usize = 5_000_000;

/// A statement over `$1`, the key, and perhaps `$2`, the id of a new row.
pub struct Point {
    /// Its text.
    pub sql: String,
    /// Types of its parameters.
    pub types: Vec<&'static str>,
    /// Values for each execution, as literals.
    pub values: Vec<Vec<String>>,
    /// It changes rows.
    pub writes: bool,
    /// Its rows come in a known order.
    pub is_ordered: bool,
}

impl Point {
    /// The text with the values of one execution in it.
    pub fn with_values(&self, values: &[String]) -> String {
        let mut sql = self.sql.clone();
        for (i, (value, kind)) in values.iter().zip(&self.types).enumerate() {
            sql = sql.replace(&format!("${}", i + 1), &format!("{value}::{kind}"));
        }
        sql
    }
}

impl Generator<'_> {
    /// A statement about one key at a time.
    pub fn point(&mut self) -> Point {
        let table = self.prng.pick(self.tables).clone();
        let key = table.distribution_column().clone();
        let scope = scope_of(&table, "u");
        let mut types = vec![key.kind.name()];
        let mut values: Vec<Vec<String>> =
            (0..EXECUTIONS).map(|_| vec![self.key_value(key.kind)]).collect();
        let fixed = format!("u.{} = $1", key.name);
        let mut is_ordered = false;
        let choice = self.prng.below(10);
        let sql = match choice {
            0..5 => {
                let (sql, ordered) = self.point_select(&table, &fixed, scope);
                is_ordered = ordered;
                sql
            }
            5..7 => {
                let free: Vec<_> = table.columns.iter().filter(|c| !c.is_fixed).collect();
                let column = free[self.prng.below(free.len())];
                let mut value = String::new();
                self.assigned(column.kind, &scope).write(&mut value, &mut None);
                let rest = self.rest(&scope);
                let returning = self.returning_text(&scope);
                let name = &table.name;
                format!(
                    "UPDATE {name} u SET {} = {value} WHERE {fixed}{rest}{returning}",
                    column.name
                )
            }
            7 => {
                let rest = format!("{} AND u.id % 4 = {}", self.rest(&scope), self.prng.below(4));
                let returning = self.returning_text(&scope);
                format!("DELETE FROM {} u WHERE {fixed}{rest}{returning}", table.name)
            }
            _ => {
                if key.name != "id" {
                    types.push("int");
                    for of_one in &mut values {
                        *self.ids += 1;
                        of_one.push((FIRST_ID + *self.ids).to_string());
                    }
                }
                self.point_insert(&table, &scope)
            }
        };
        Point { sql, types, values, writes: choice >= 5, is_ordered }
    }

    fn key_value(&mut self, kind: Type) -> String {
        match self.prng.below(12) {
            0 => "NULL".to_owned(),
            _ => quoted(&kind.draw(self.prng)),
        }
    }

    fn rest(&mut self, scope: &Scope) -> String {
        let mut sql = String::new();
        if self.prng.one_in(2) {
            sql.push_str(" AND (");
            self.expression(Type::Bool, 2, scope).write(&mut sql, &mut None);
            sql.push(')');
        }
        sql
    }

    fn returning_text(&mut self, scope: &Scope) -> String {
        let list = self.returning(scope);
        let texts: Vec<String> = list.iter().map(|e| e.text()).collect();
        if texts.is_empty() { String::new() } else { format!(" RETURNING {}", texts.join(", ")) }
    }

    fn point_select(&mut self, table: &Table, fixed: &str, scope: Scope) -> (String, bool) {
        let mut scope = scope;
        let mut from = format!("{} u", table.name);
        let colocated: Vec<Table> =
            self.tables.iter().filter(|t| t.is_colocated_with(table)).cloned().collect();
        if self.prng.one_in(3)
            && let Some(other) = colocated.first()
        {
            let (mine, its) = (table.distribution_column(), other.distribution_column());
            let how = *self.prng.pick(&["JOIN", "JOIN", "LEFT JOIN"]);
            from.push_str(&format!(" {how} {} o ON o.{} = u.{}", other.name, its.name, mine.name));
            scope.extend(scope_of(other, "o"));
        }
        let is_aggregate = self.prng.one_in(4);
        let n = 1 + self.prng.below(3);
        let columns: Vec<String> = (0..n)
            .map(|_| {
                let kind = self.kind();
                let expression = match is_aggregate {
                    true => self.aggregate_of(Type::BigInt, &scope),
                    false => self.expression(kind, 2, &scope),
                };
                expression.text()
            })
            .collect();
        let mut rest = self.rest(&scope);
        if self.prng.one_in(4)
            && let Some(other) = colocated.first()
        {
            let (mine, its) = (table.distribution_column(), other.distribution_column());
            let (not, other) = (*self.prng.pick(&["", "NOT "]), &other.name);
            rest.push_str(&format!(
                " AND {not}EXISTS (SELECT FROM {other} e WHERE e.{} = u.{} AND e.id <> u.id)",
                its.name, mine.name
            ));
        }
        let mut sql = format!("SELECT {} FROM {from} WHERE {fixed}{rest}", columns.join(", "));
        let is_ordered = !is_aggregate && self.prng.one_in(3);
        if is_ordered {
            let places: Vec<String> = (1..=n).map(|i| i.to_string()).collect();
            sql.push_str(&format!(" ORDER BY {} LIMIT {}", places.join(", "), self.prng.below(9)));
        } else if !is_aggregate && self.prng.one_in(4) {
            sql.push_str(" FOR UPDATE OF u");
            return (sql, is_ordered);
        }
        match self.prng.below(8) {
            0 => (format!("WITH c AS ({sql}) SELECT * FROM c"), false),
            1 => (format!("SELECT * FROM ({sql}) s"), false),
            2 => (format!("({sql}) UNION ALL ({sql})"), false),
            _ => (sql, is_ordered),
        }
    }

    fn point_insert(&mut self, table: &Table, scope: &Scope) -> String {
        let key = table.distribution_column().name.clone();
        let row = table.draw_row(self.prng, 0);
        let names = table.columns.iter().filter(|c| !c.is_generated).map(|c| c.name.as_str());
        let values: Vec<String> = names
            .zip(&row)
            .map(|(name, value)| match name {
                _ if name == key => "$1".to_owned(),
                "id" => "$2".to_owned(),
                _ => {
                    let row = values_row(std::slice::from_ref(value));
                    row.trim_start_matches('(').trim_end_matches(')').to_owned()
                }
            })
            .collect();
        let mut sql = format!(
            "INSERT INTO {} AS u ({}) VALUES ({})",
            table.name,
            table.written_columns(),
            values.join(", ")
        );
        let free = table.columns.iter().find(|c| !c.is_fixed);
        if let (1, Some(column)) = (table.key.len(), free) {
            match self.prng.below(3) {
                0 => sql.push_str(" ON CONFLICT DO NOTHING"),
                1 => sql.push_str(&format!(
                    " ON CONFLICT ({}) DO UPDATE SET {} = excluded.{}",
                    table.key[0], column.name, column.name
                )),
                _ => {}
            }
        }
        sql + &self.returning_text(scope)
    }
}
