//! INSERT, UPDATE and DELETE as trees.

use super::expression::Expression;
use super::query::write_list;

/// A statement that changes rows.
#[derive(Clone, Debug)]
pub struct Change {
    /// Up to SET, or the whole of an INSERT.
    pub head: String,
    /// Columns that UPDATE sets.
    pub sets: Vec<(String, Expression)>,
    /// ` FROM …` or ` USING …`, or nothing.
    pub using: String,
    /// Conditions, all of which must hold.
    pub conditions: Vec<Expression>,
    /// RETURNING
    pub returning: Vec<Expression>,
}

impl Change {
    /// Its text.
    pub fn sql(&self) -> String {
        let mut sql = self.head.clone();
        for (i, (column, value)) in self.sets.iter().enumerate() {
            sql.push_str(if i == 0 { " SET " } else { ", " });
            sql.push_str(&format!("{column} = "));
            value.write(&mut sql, &mut None);
        }
        sql.push_str(&self.using);
        if !self.conditions.is_empty() {
            sql.push_str(" WHERE ");
            write_list(&self.conditions, " AND ", &mut sql, &mut None);
        }
        if !self.returning.is_empty() {
            sql.push_str(" RETURNING ");
            write_list(&self.returning, ", ", &mut sql, &mut None);
        }
        sql
    }

    /// Simpler ones; some of them may be no valid SQL.
    pub fn shrunk(&self) -> Vec<Change> {
        let mut all = Vec::new();
        let mut try_with = |change: &dyn Fn(&mut Change)| {
            let mut smaller = self.clone();
            change(&mut smaller);
            all.push(smaller);
        };
        try_with(&|c| c.returning.clear());
        if !self.using.is_empty() {
            try_with(&|c| c.using.clear());
        }
        for i in 0..self.sets.len() {
            if self.sets.len() > 1 {
                try_with(&|c| drop(c.sets.remove(i)));
            }
            for smaller in self.sets[i].1.shrunk() {
                try_with(&|c| c.sets[i].1 = smaller.clone());
            }
        }
        for i in 0..self.conditions.len() {
            try_with(&|c| drop(c.conditions.remove(i)));
            for smaller in self.conditions[i].shrunk() {
                try_with(&|c| c.conditions[i] = smaller.clone());
            }
        }
        for i in 0..self.returning.len() {
            if self.returning.len() > 1 {
                try_with(&|c| drop(c.returning.remove(i)));
            }
            for smaller in self.returning[i].shrunk() {
                try_with(&|c| c.returning[i] = smaller.clone());
            }
        }
        // `returning.clear()` on one without is no change.
        let own = self.sql();
        all.retain(|c| c.sql() != own);
        all
    }
}
