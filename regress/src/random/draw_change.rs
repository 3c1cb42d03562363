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
        match self.prng.below(10) {
            0..3 => self.insert(&table),
            3 => self.insert_select(&table),
            4..8 => self.update(&table),
            _ => self.delete(&table),
        }
    }

    fn insert(&mut self, table: &Table) -> Change {
        let n = 1 + self.prng.below(4);
        let rows: Vec<String> = (0..n)
            .map(|_| {
                *self.ids += 1;
                let id = ID_STRIDE * *self.ids + self.prng.below(50);
                values_row(&table.draw_row(self.prng, id))
            })
            .collect();
        let mut head = format!(
            "INSERT INTO {} ({}) VALUES {}",
            table.name,
            table.written_columns(),
            rows.join(", ")
        );
        // A row that is there already, perhaps.
        if table.key == ["id"] && self.prng.one_in(4) {
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
        let columns = table.written_columns();
        let head = format!(
            "INSERT INTO {} ({columns}) SELECT {} FROM {} {alias}",
            table.name,
            values.join(", "),
            source.name
        );
        let of_old_rows = Expression::Atom(Type::Bool, format!("{alias}.id < 20"));
        let conditions = vec![of_old_rows, self.expression(Type::Bool, 2, &scope)];
        let scope = scope_of(table, &table.name);
        Change {
            head,
            sets: Vec::new(),
            using: String::new(),
            conditions,
            returning: self.returning(&scope),
        }
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
            change.sets.push((column.name.clone(), self.assigned(column.kind, &scope)));
        }
        change
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
        match self.prng.below(4) {
            0 => {
                let text = format!("u.id = {}", self.prng.below(40));
                conditions.push(Expression::Atom(Type::Bool, text));
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
