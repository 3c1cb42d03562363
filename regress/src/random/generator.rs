//! Draws queries; `draw_expression`, `draw_change` and `draw_point` draw the rest.

use super::expression::Expression;
use super::prng::Prng;
use super::query::{Body, Join, Query, Select};
use super::schema::Table;
use super::values::Type;

/// Columns that an expression may name.
pub(super) type Scope = Vec<Expression>;

const COMPARISONS: &[&str] = &["=", "=", "=", "<>", "<", "<=", ">", ">="];
const DEPTH: usize = 3;

/// Draws statements about some tables.
pub struct Generator<'a> {
    pub(super) prng: &'a mut Prng,
    pub(super) tables: &'a [Table],
    /// WITH queries in sight, with the types of their columns `d0`, `d1`, ….
    named: Vec<(String, Vec<Type>)>,
    aliases: usize,
    /// For ids that no row has.
    pub(super) ids: &'a mut usize,
}

impl<'a> Generator<'a> {
    /// `ids` counts the statements that made rows.
    pub fn new(prng: &'a mut Prng, tables: &'a [Table], ids: &'a mut usize) -> Self {
        Self { prng, tables, named: Vec::new(), aliases: 0, ids }
    }

    /// A statement that returns rows.
    pub fn query(&mut self) -> Query {
        let with = if self.prng.one_in(6) { self.with() } else { String::new() };
        let kinds: Vec<Type> = (0..1 + self.prng.below(4)).map(|_| self.kind()).collect();
        let query = self.ordered(with, &kinds, DEPTH);
        self.named.clear();
        query
    }

    pub(super) fn kind(&mut self) -> Type {
        let all = if self.prng.one_in(4) { Type::ALL } else { Type::COMMON };
        *self.prng.pick(all)
    }

    pub(super) fn table(&mut self) -> &'a Table {
        &self.tables[self.prng.below(self.tables.len())]
    }

    pub(super) fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("a{}", self.aliases)
    }

    fn with(&mut self) -> String {
        let kinds: Vec<Type> = (0..2).map(|_| self.kind()).collect();
        let query = self.ordered(String::new(), &kinds, 1).sql(&mut None);
        let how = *self.prng.pick(&["", "MATERIALIZED ", "NOT MATERIALIZED "]);
        self.named.push(("w".to_owned(), kinds));
        format!("WITH w(d0, d1) AS {how}({query}) ")
    }

    fn ordered(&mut self, with: String, kinds: &[Type], depth: usize) -> Query {
        let body = self.body(kinds, depth);
        let mut query = Query { with, body, order: None, limit: None };
        if self.prng.one_in(2) {
            let mut places: Vec<usize> = (1..=kinds.len()).collect();
            for i in (1..places.len()).rev() {
                places.swap(i, self.prng.below(i + 1));
            }
            let items: Vec<String> = places
                .iter()
                .map(|place| {
                    let way =
                        *self.prng.pick(&["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
                    format!("{place}{way}")
                })
                .collect();
            query.order = Some(items.join(", "));
            if self.prng.one_in(2) {
                let (limit, offset) = (self.prng.below(15), self.prng.below(6));
                query.limit = Some(match self.prng.below(3) {
                    0 => format!("OFFSET {offset}"),
                    1 => format!("LIMIT {limit}"),
                    _ => format!("LIMIT {limit} OFFSET {offset}"),
                });
            }
        }
        query
    }

    fn body(&mut self, kinds: &[Type], depth: usize) -> Body {
        if depth > 1 && self.prng.one_in(8) {
            let operation =
                *self.prng.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL"]);
            let (left, right) = (self.body(kinds, depth - 1), self.body(kinds, depth - 1));
            return Body::Both(Box::new(left), operation, Box::new(right));
        }
        Body::Select(Box::new(self.select(kinds, depth)))
    }

    fn select(&mut self, kinds: &[Type], depth: usize) -> Select {
        let mut scope = Scope::new();
        let from = self.from(&mut scope, depth);
        let n_conditions = [0, 1, 1, 2, 3][self.prng.below(5)];
        let mut conditions: Vec<Expression> =
            (0..n_conditions).map(|_| self.expression(Type::Bool, depth, &scope)).collect();
        // At the top, where PostgreSQL makes a semi or anti join of it.
        if self.prng.one_in(5) {
            conditions.push(self.subquery(Type::Bool, &scope));
        }
        let mut select = Select {
            is_distinct: false,
            columns: Vec::new(),
            from,
            conditions,
            group: None,
            having: None,
        };
        if self.prng.one_in(3) {
            self.aggregate(&mut select, kinds, &scope);
        } else {
            select.is_distinct = self.prng.one_in(6);
            for kind in kinds {
                let column = if !select.is_distinct && depth > 1 && self.prng.one_in(12) {
                    self.window(*kind, &scope)
                } else {
                    self.expression(*kind, depth - 1, &scope)
                };
                select.columns.push(column);
            }
        }
        select
    }

    /// Group keys first, then aggregates, each column of the kind asked for.
    fn aggregate(&mut self, select: &mut Select, kinds: &[Type], scope: &Scope) {
        let n_keys = self.prng.below(kinds.len() + 1).min(2);
        for (i, kind) in kinds.iter().enumerate() {
            let column = if i < n_keys {
                // A bare constant may not be a group key twice over; a column can.
                self.column(*kind, scope).unwrap_or_else(|| self.expression(*kind, 1, scope))
            } else {
                self.aggregate_of(*kind, scope)
            };
            select.columns.push(column);
        }
        let keys: Vec<String> = (1..=n_keys).map(|i| i.to_string()).collect();
        let keys = keys.join(", ");
        // PostgreSQL 15 itself is wrong about sets of constants and of equal keys.
        let is_of_tables =
            |key: &Expression| matches!(key, Expression::Atom(_, column) if !column.contains(".d"));
        let texts: Vec<String> = select.columns[..n_keys].iter().map(Expression::text).collect();
        let can_have_sets = select.columns[..n_keys].iter().all(is_of_tables)
            && (n_keys < 2 || texts[0] != texts[1]);
        let choice = if can_have_sets { self.prng.below(8) } else { 7 };
        select.group = match (n_keys, choice) {
            (0, _) => None,
            (_, 0) => Some(format!("ROLLUP ({keys})")),
            (2, 1) => Some("GROUPING SETS ((1), (2), ())".to_owned()),
            _ => Some(keys),
        };
        if self.prng.one_in(3) {
            let kind = *self.prng.pick(&[Type::Int, Type::BigInt, Type::Text]);
            let aggregate = self.aggregate_of(kind, scope);
            let literal = self.literal(kind);
            let comparison = *self.prng.pick(COMPARISONS);
            let text = format!("(§ {comparison} §)");
            select.having = Some(Expression::Node(Type::Bool, text, vec![aggregate, literal]));
        }
    }

    fn from(&mut self, scope: &mut Scope, depth: usize) -> Vec<Join> {
        let n = [1, 1, 1, 2, 2, 3][self.prng.below(6)].min(depth);
        let mut from = Vec::new();
        for i in 0..n {
            let kind = match i {
                0 => "",
                _ => *self.prng.pick(&[
                    "JOIN",
                    "JOIN",
                    "JOIN",
                    "LEFT JOIN",
                    "LEFT JOIN",
                    "RIGHT JOIN",
                    "FULL JOIN",
                    "CROSS JOIN",
                ]),
            };
            let (item, columns) = self.relation(kind, scope, depth);
            let on = match kind {
                "" | "CROSS JOIN" => None,
                "FULL JOIN" => self.equality(scope, &columns),
                _ => {
                    let equality = self.equality(scope, &columns);
                    let both = [scope.clone(), columns.clone()].concat();
                    match equality {
                        Some(equality) if !self.prng.one_in(3) => Some(equality),
                        Some(equality) => {
                            let more = self.expression(Type::Bool, 1, &both);
                            let text = "(§ AND §)".to_owned();
                            Some(Expression::Node(Type::Bool, text, vec![equality, more]))
                        }
                        None => Some(self.expression(Type::Bool, 1, &both)),
                    }
                }
            };
            let kind = if on.is_none() && i > 0 { "CROSS JOIN" } else { kind };
            scope.extend(columns);
            from.push(Join { kind, item, on });
        }
        from
    }

    /// A table, a WITH query or a subquery, with an alias of its own.
    fn relation(&mut self, join: &str, outer: &Scope, depth: usize) -> (String, Scope) {
        let alias = self.alias();
        if let Some((name, kinds)) = self.named.first().cloned()
            && self.prng.one_in(2)
        {
            return (format!("{name} {alias}"), numbered(&alias, &kinds));
        }
        if depth > 1 && self.prng.one_in(6) {
            let kinds: Vec<Type> = (0..2).map(|_| self.kind()).collect();
            let is_lateral =
                matches!(join, "JOIN" | "LEFT JOIN" | "CROSS JOIN") && self.prng.one_in(2);
            let mut query = self.ordered(String::new(), &kinds, 1);
            if is_lateral && let Body::Select(select) = &mut query.body {
                // Refers to what stands left of it.
                select.conditions.push(self.expression(Type::Bool, 1, outer));
            }
            let word = if is_lateral { "LATERAL " } else { "" };
            let sql = query.sql(&mut None);
            return (format!("{word}({sql}) {alias}(d0, d1)"), numbered(&alias, &kinds));
        }
        let table = self.table();
        (format!("{} {alias}", table.name), scope_of(table, &alias))
    }
}

/// The columns of a table.
pub(super) fn scope_of(table: &Table, alias: &str) -> Scope {
    let columns = table.columns.iter();
    columns.map(|c| Expression::Atom(c.kind, format!("{alias}.{}", c.name))).collect()
}

fn numbered(alias: &str, kinds: &[Type]) -> Scope {
    let numbered = kinds.iter().enumerate();
    numbered.map(|(i, kind)| Expression::Atom(*kind, format!("{alias}.d{i}"))).collect()
}
