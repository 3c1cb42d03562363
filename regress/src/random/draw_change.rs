//! Draws INSERT, UPDATE and DELETE.

use super::change::Change;
use super::expression::Expression;
use super::generator::{Generator, Scope, scope_of};
use super::schema::{Table, values_row};
use super::values::Type;

/// Between the ids of rows that one INSERT … SELECT makes and those of the next.
const ID_STRIDE: usize = 10_000;

impl Generator<'_> {
    /// A statement that changes rows of one table.
    pub fn change(&mut self) -> Change {
        let table = self.prng.pick(self.tables).clone();
        match self.prng.below(12) {
            0..3 => self.insert(&table),
            3 => self.insert_select(&table),
            4 => self.copy(&table),
            5..10 => self.update(&table),
            _ => self.delete(&table),
        }
    }

    fn insert(&mut self, table: &Table) -> Change {
        let n = 1 + if self.prng.one_in(4) { self.prng.below(60) } else { self.prng.below(4) };
        let mut rows: Vec<String> = (0..n)
            .map(|_| {
                *self.ids += 1;
                let id = ID_STRIDE * *self.ids + self.prng.below(50);
                values_row(&table.draw_row(self.prng, id))
            })
            .collect();
        // Many rows, of which some are there already.
        let skips = table.key == ["id"] && self.prng.one_in(4);
        if skips {
            for _ in 0..self.prng.below(6) {
                let id = self.prng.below(50);
                rows.push(values_row(&table.draw_row(self.prng, id)));
            }
        }
        let mut head = format!(
            "INSERT INTO {} ({}) VALUES {}{}",
            table.name,
            table.written_columns(),
            rows.join(", "),
            if skips { " ON CONFLICT DO NOTHING" } else { "" }
        );
        // A row that is there already, perhaps.
        if !skips && table.key == ["id"] && self.prng.one_in(4) {
            let id = self.prng.below(50);
            head = format!(
                "INSERT INTO {} ({}) VALUES {}",
                table.name,
                table.written_columns(),
                values_row(&table.draw_row(self.prng, id))
            );
            if self.prng.one_in(2) {
                head.push_str(" ON CONFLICT DO NOTHING");
            }
        }
        let scope = scope_of(table, &table.name);
        Change {
            head,
            sets: Vec::new(),
            using: String::new(),
            conditions: Vec::new(),
            returning: self.returning(&scope),
        }
    }

    fn insert_select(&mut self, table: &Table) -> Change {
        let (select, conditions) = self.new_rows(table);
        let scope = scope_of(table, &table.name);
        Change {
            head: format!("INSERT INTO {} ({}) {select}", table.name, table.written_columns()),
            sets: Vec::new(),
            using: String::new(),
            conditions,
            returning: self.returning(&scope),
        }
    }

    /// Rows of a query to a file on the server, and from there into a table.
    fn copy(&mut self, table: &Table) -> Change {
        let (head, conditions) = self.new_rows(table);
        let change = Change {
            head,
            sets: Vec::new(),
            using: String::new(),
            conditions,
            returning: Vec::new(),
        };
        let form = *self.prng.pick(&["", " (FORMAT csv)", " (FORMAT binary)"]);
        let (rows, name, columns) = (change.sql(), &table.name, table.written_columns());
        let head = format!(
            "DO $do$ BEGIN EXECUTE $c$COPY ({rows}) TO PROGRAM 'cat >random_rows'{form}$c$; \
             EXECUTE $c$COPY {name} ({columns}) FROM PROGRAM 'cat random_rows'{form}$c$; END $do$"
        );
        Change { head, conditions: Vec::new(), ..change }
    }

    /// A SELECT of rows that a table takes, with ids that no row has, up to WHERE;
    /// and its conditions.
    fn new_rows(&mut self, table: &Table) -> (String, Vec<Expression>) {
        *self.ids += 1;
        let alias = self.alias();
        let source = self.prng.pick(self.tables).clone();
        let scope = scope_of(&source, &alias);
        let mut values = Vec::new();
        for column in table.columns.iter().filter(|c| !c.is_generated) {
            let value = match column.name.as_str() {
                "id" => format!("{alias}.id + {}", ID_STRIDE * *self.ids),
                _ => self.cast(column.kind, &scope),
            };
            values.push(value);
        }
        let select = format!("SELECT {} FROM {} {alias}", values.join(", "), source.name);
        let of_old_rows = Expression::Atom(Type::Bool, format!("{alias}.id < 20"));
        (select, vec![of_old_rows, self.expression(Type::Bool, 2, &scope)])
    }

    /// A value that the column takes whatever it is.
    fn cast(&mut self, kind: Type, scope: &Scope) -> String {
        let mut sql = String::new();
        self.assigned(kind, scope).write(&mut sql, &mut None);
        sql
    }

    pub(super) fn assigned(&mut self, kind: Type, scope: &Scope) -> Expression {
        let value = self.expression(kind, 2, scope);
        let text = format!("(§)::{}", kind.name());
        Expression::Node(kind, text, vec![value])
    }

    fn update(&mut self, table: &Table) -> Change {
        let mut change = self.with_conditions(table, "FROM");
        let free: Vec<_> = table.columns.iter().filter(|c| !c.is_fixed).collect();
        let scope = std::mem::take(&mut change.1);
        let mut change = change.0;
        change.head = format!("UPDATE {} u", table.name);
        let first = self.prng.below(free.len());
        let n = 1 + self.prng.below(free.len().min(3));
        for i in 0..n {
            let column = free[(first + i) % free.len()];
            let value = match column.kind {
                Type::Int if self.prng.one_in(3) => self.counted(&scope),
                kind => self.assigned(kind, &scope),
            };
            change.sets.push((column.name.clone(), value));
        }
        if self.prng.one_in(3) {
            change.sets.extend(self.new_key(table, &scope));
        }
        change
    }

    /// A new value for what decides where a row is.
    fn new_key(&mut self, table: &Table, scope: &Scope) -> Option<(String, Expression)> {
        if let Some(k) = table.columns.iter().find(|c| c.name == "k") {
            return Some((k.name.clone(), self.assigned(k.kind, scope)));
        }
        *self.ids += 1;
        let text = format!("u.id + {}", ID_STRIDE * *self.ids);
        (table.key == ["id"]).then(|| ("id".to_owned(), Expression::Atom(Type::Int, text)))
    }

    /// How many rows of a table have something to do with the row `u`.
    fn counted(&mut self, scope: &Scope) -> Expression {
        let (other, alias, inner) = self.related(scope);
        let text = format!(
            "(SELECT count(*) FROM {other} {alias} WHERE {alias}.id % 3 = u.id % 3 AND (§))::int"
        );
        Expression::Node(Type::Int, text, vec![inner])
    }

    /// A table, its alias, and a condition on its rows and those of `scope`.
    fn related(&mut self, scope: &Scope) -> (String, String, Expression) {
        let alias = self.alias();
        let other = self.prng.pick(self.tables).clone();
        let mut both = scope_of(&other, &alias);
        both.extend(scope.iter().cloned());
        let inner = self.expression(Type::Bool, 2, &both);
        (other.name, alias, inner)
    }

    fn delete(&mut self, table: &Table) -> Change {
        let (mut change, _) = self.with_conditions(table, "USING");
        change.head = format!("DELETE FROM {} u", table.name);
        // Leave something for the others.
        let text = format!("u.id % 4 = {}", self.prng.below(4));
        change.conditions.push(Expression::Atom(Type::Bool, text));
        change
    }

    /// Conditions on `table u`, and perhaps on one row of another table that is joined.
    fn with_conditions(&mut self, table: &Table, word: &str) -> (Change, Scope) {
        let mut scope = scope_of(table, "u");
        let mut conditions = Vec::new();
        let mut using = String::new();
        if self.prng.one_in(4) {
            let alias = self.alias();
            let other = self.table();
            using = format!(" {word} {} {alias}", other.name);
            scope.extend(scope_of(other, &alias));
            // Ids are unique in each table: no row is met twice.
            conditions.push(Expression::Atom(Type::Bool, format!("u.id = {alias}.id")));
        }
        match self.prng.below(6) {
            0 => {
                let text = format!("u.id = {}", self.prng.below(40));
                conditions.push(Expression::Atom(Type::Bool, text));
            }
            1 => {
                let (other, alias, inner) = self.related(&scope);
                let text = match self.prng.below(3) {
                    0 => format!("u.id IN (SELECT {alias}.id FROM {other} {alias} WHERE §)"),
                    1 => format!(
                        "EXISTS (SELECT FROM {other} {alias} WHERE {alias}.id = u.id AND (§))"
                    ),
                    _ => format!("u.id <= (SELECT max({alias}.id) FROM {other} {alias} WHERE §)"),
                };
                conditions.push(Expression::Node(Type::Bool, text, vec![inner]));
            }
            _ => conditions.push(self.expression(Type::Bool, 3, &scope)),
        }
        let returning = self.returning(&scope);
        let change = Change { head: String::new(), sets: Vec::new(), using, conditions, returning };
        (change, scope)
    }

    pub(super) fn returning(&mut self, scope: &Scope) -> Vec<Expression> {
        match self.prng.below(3) {
            0 => Vec::new(),
            1 => scope.clone(),
            _ => (0..2)
                .map(|_| {
                    let kind = self.kind();
                    self.expression(kind, 1, scope)
                })
                .collect(),
        }
    }
}
