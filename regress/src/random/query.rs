//! SELECT as a tree.

use super::expression::{Expression, Parameters};

/// A relation of FROM.
#[derive(Clone, Debug)]
pub struct Join {
    /// `LEFT JOIN` and so on; not read for the first one.
    pub kind: &'static str,
    /// The relation with its alias.
    pub item: String,
    /// The condition, if the kind takes one.
    pub on: Option<Expression>,
}

/// SELECT without what may follow a set operation.
#[derive(Clone, Debug)]
pub struct Select {
    /// SELECT DISTINCT
    pub is_distinct: bool,
    /// What it shows.
    pub columns: Vec<Expression>,
    /// FROM; at least one.
    pub from: Vec<Join>,
    /// Conditions, all of which must hold.
    pub conditions: Vec<Expression>,
    /// `GROUP BY …`, as text: it names output columns by number.
    pub group: Option<String>,
    /// HAVING
    pub having: Option<Expression>,
}

/// A part that has rows.
#[derive(Clone, Debug)]
pub enum Body {
    /// One SELECT.
    Select(Box<Select>),
    /// Two of them.
    Both(Box<Body>, &'static str, Box<Body>),
}

/// A statement that returns rows.
#[derive(Clone, Debug)]
pub struct Query {
    /// `WITH` and what follows it, or nothing.
    pub with: String,
    /// The rows.
    pub body: Body,
    /// All output columns in some order, so that ties look alike; or nothing.
    pub order: Option<String>,
    /// LIMIT and OFFSET; only with `order`.
    pub limit: Option<String>,
}

impl Select {
    fn write(&self, sql: &mut String, parameters: &mut Option<Parameters>) {
        sql.push_str(if self.is_distinct { "SELECT DISTINCT " } else { "SELECT " });
        write_list(&self.columns, ", ", sql, parameters);
        for (i, join) in self.from.iter().enumerate() {
            match i {
                0 => sql.push_str(" FROM "),
                _ => sql.push_str(&format!(" {} ", join.kind)),
            }
            sql.push_str(&join.item);
            if let (Some(on), 1..) = (&join.on, i) {
                sql.push_str(" ON ");
                on.write(sql, parameters);
            }
        }
        if !self.conditions.is_empty() {
            sql.push_str(" WHERE ");
            write_list(&self.conditions, " AND ", sql, parameters);
        }
        if let Some(group) = &self.group {
            sql.push_str(&format!(" GROUP BY {group}"));
        }
        if let Some(having) = &self.having {
            sql.push_str(" HAVING ");
            having.write(sql, parameters);
        }
    }

    fn shrunk(&self) -> Vec<Select> {
        let mut all = Vec::new();
        let mut try_with = |change: &dyn Fn(&mut Select)| {
            let mut smaller = self.clone();
            change(&mut smaller);
            all.push(smaller);
        };
        for i in 1..self.from.len() {
            try_with(&|s| drop(s.from.remove(i)));
        }
        for i in 0..self.conditions.len() {
            try_with(&|s| drop(s.conditions.remove(i)));
        }
        if self.having.is_some() {
            try_with(&|s| s.having = None);
        }
        if self.is_distinct {
            try_with(&|s| s.is_distinct = false);
        }
        if self.group.is_some() {
            try_with(&|s| s.group = None);
        }
        for i in 0..self.columns.len() {
            if self.columns.len() > 1 {
                try_with(&|s| drop(s.columns.remove(i)));
            }
            for smaller in self.columns[i].shrunk() {
                try_with(&|s| s.columns[i] = smaller.clone());
            }
        }
        for i in 0..self.conditions.len() {
            for smaller in self.conditions[i].shrunk() {
                try_with(&|s| s.conditions[i] = smaller.clone());
            }
        }
        for i in 0..self.from.len() {
            for smaller in self.from[i].on.iter().flat_map(Expression::shrunk) {
                try_with(&|s| s.from[i].on = Some(smaller.clone()));
            }
        }
        all
    }
}

impl Body {
    fn write(&self, sql: &mut String, parameters: &mut Option<Parameters>) {
        match self {
            Self::Select(select) => select.write(sql, parameters),
            Self::Both(left, operation, right) => {
                sql.push('(');
                left.write(sql, parameters);
                sql.push_str(&format!(") {operation} ("));
                right.write(sql, parameters);
                sql.push(')');
            }
        }
    }

    fn shrunk(&self) -> Vec<Body> {
        match self {
            Self::Select(select) => {
                select.shrunk().into_iter().map(|s| Self::Select(Box::new(s))).collect()
            }
            Self::Both(left, operation, right) => {
                let mut all = vec![(**left).clone(), (**right).clone()];
                let both = |l: Body, r: Body| Self::Both(Box::new(l), operation, Box::new(r));
                all.extend(left.shrunk().into_iter().map(|l| both(l, (**right).clone())));
                all.extend(right.shrunk().into_iter().map(|r| both((**left).clone(), r)));
                all
            }
        }
    }
}

impl Query {
    /// Its text; literals become parameters if there is a list for them.
    pub fn sql(&self, parameters: &mut Option<Parameters>) -> String {
        let mut sql = self.with.clone();
        self.body.write(&mut sql, parameters);
        for (word, clause) in [(" ORDER BY ", &self.order), (" ", &self.limit)] {
            if let Some(clause) = clause {
                sql.push_str(word);
                sql.push_str(clause);
            }
        }
        sql
    }

    /// Simpler ones; some of them may be no valid SQL.
    pub fn shrunk(&self) -> Vec<Query> {
        let mut all = Vec::new();
        if !self.with.is_empty() {
            all.push(Query { with: String::new(), ..self.clone() });
        }
        if self.limit.is_some() {
            all.push(Query { limit: None, ..self.clone() });
        }
        if self.order.is_some() && self.limit.is_none() {
            all.push(Query { order: None, ..self.clone() });
        }
        all.extend(self.body.shrunk().into_iter().map(|body| Query { body, ..self.clone() }));
        all
    }
}

/// Writes expressions one after the other.
pub fn write_list(
    all: &[Expression],
    between: &str,
    sql: &mut String,
    parameters: &mut Option<Parameters>,
) {
    for (i, expression) in all.iter().enumerate() {
        if i > 0 {
            sql.push_str(between);
        }
        expression.write(sql, parameters);
    }
}
