//! Draws statements.

use super::change::Change;
use super::expression::Expression;
use super::prng::Prng;
use super::query::{Body, Join, Query, Select};
use super::schema::{Table, values_row};
use super::values::Type;

/// Columns that an expression may name.
type Scope = Vec<Expression>;

const COMPARISONS: &[&str] = &["=", "=", "=", "<>", "<", "<=", ">", ">="];
const DEPTH: usize = 3;
/// Between the ids of rows that one INSERT … SELECT makes and those of the next.
const ID_STRIDE: usize = 10_000;

/// Draws statements about some tables.
pub struct Generator<'a> {
    prng: &'a mut Prng,
    tables: &'a [Table],
    /// WITH queries in sight, with the types of their columns `d0`, `d1`, ….
    named: Vec<(String, Vec<Type>)>,
    aliases: usize,
    /// The table that a statement changes. Nothing else in it reads this table:
    /// a scan that begins anew sees what the statement itself has done on
    /// another node (as with postgres_fdw), which plain PostgreSQL hides.
    changed: Option<String>,
    /// For ids that no row has.
    ids: &'a mut usize,
}

impl<'a> Generator<'a> {
    /// `ids` counts the statements that made rows.
    pub fn new(prng: &'a mut Prng, tables: &'a [Table], ids: &'a mut usize) -> Self {
        Self { prng, tables, named: Vec::new(), aliases: 0, changed: None, ids }
    }

    /// A statement that returns rows.
    pub fn query(&mut self) -> Query {
        let with = if self.prng.one_in(6) { self.with() } else { String::new() };
        let kinds: Vec<Type> = (0..1 + self.prng.below(4)).map(|_| self.kind()).collect();
        let query = self.ordered(with, &kinds, DEPTH);
        self.named.clear();
        query
    }

    /// A statement that changes rows of one table.
    pub fn change(&mut self) -> Change {
        let table = self.prng.pick(self.tables).clone();
        self.changed = Some(table.name.clone());
        match self.prng.below(10) {
            0..3 => self.insert(&table),
            3 => self.insert_select(&table),
            4..8 => self.update(&table),
            _ => self.delete(&table),
        }
    }

    fn kind(&mut self) -> Type {
        let all = if self.prng.one_in(4) { Type::ALL } else { Type::COMMON };
        *self.prng.pick(all)
    }

    fn table(&mut self) -> &'a Table {
        let changed = self.changed.as_deref();
        let all: Vec<&Table> =
            self.tables.iter().filter(|t| Some(t.name.as_str()) != changed).collect();
        *self.prng.pick(&all)
    }

    fn alias(&mut self) -> String {
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
        let conditions =
            (0..n_conditions).map(|_| self.expression(Type::Bool, depth, &scope)).collect();
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

    fn aggregate_of(&mut self, kind: Type, scope: &Scope) -> Expression {
        let any = self.kind();
        let (text, arguments): (&str, Vec<Type>) = match kind {
            Type::BigInt => *self.prng.pick(&[
                ("count(*)", &[][..]),
                ("count(§)", &[Type::Text]),
                ("count(DISTINCT §)", &[Type::Int]),
                ("count(DISTINCT §)", &[Type::Text]),
                ("sum(§)", &[Type::Int]),
                ("sum(§)", &[Type::Int]),
                ("max(§)", &[Type::BigInt]),
            ]),
            Type::Numeric => *self.prng.pick(&[
                ("sum(§)", &[Type::Numeric][..]),
                ("sum(DISTINCT §)", &[Type::Numeric]),
                ("avg(§)::numeric(12,3)", &[Type::Int]),
                ("avg(§)::numeric(12,3)", &[Type::Numeric]),
                ("stddev(§)::numeric(12,3)", &[Type::Int]),
                ("min(§)", &[Type::Numeric]),
                ("(percentile_disc(0.5) WITHIN GROUP (ORDER BY §))", &[Type::Numeric]),
            ]),
            Type::Float => *self.prng.pick(&[
                ("sum(§)", &[Type::Float][..]),
                ("avg(§)", &[Type::Float]),
                ("max(§)", &[Type::Float]),
            ]),
            Type::Bool => *self.prng.pick(&[
                ("bool_and(§)", &[Type::Bool][..]),
                ("bool_or(§)", &[Type::Bool]),
                ("every(§)", &[Type::Bool]),
            ]),
            Type::Int => *self.prng.pick(&[
                ("min(§)", &[Type::Int][..]),
                ("max(§)", &[Type::Int]),
                ("bit_or(§)", &[Type::Int]),
                ("count(*)::int", &[]),
                ("sum(§)::int", &[Type::Int]),
            ]),
            Type::Text => *self.prng.pick(&[
                ("min(§)", &[Type::Text][..]),
                ("max(§)", &[Type::Text]),
                ("string_agg(§, ',' ORDER BY § DESC)", &[]),
                ("string_agg(DISTINCT §, '')", &[Type::Text]),
            ]),
            Type::IntArray => ("array_agg(§ ORDER BY § NULLS FIRST)", &[][..]),
            Type::Date => ("max(§)", &[Type::Date][..]),
            Type::Timestamp => ("max(§)", &[Type::Timestamp][..]),
            _ => {
                // The type has no aggregate of its own here.
                let count = Expression::Node(Type::BigInt, "count(*)".to_owned(), Vec::new());
                let literal = self.literal(kind);
                let text = "(CASE WHEN § > 3 THEN § END)".to_owned();
                return Expression::Node(kind, text, vec![count, literal]);
            }
        }
        .clone_with(any);
        let mut arguments: Vec<Expression> =
            arguments.into_iter().map(|t| self.expression(t, 1, scope)).collect();
        // The one argument twice: ORDER BY it, so that ties look alike.
        if arguments.is_empty() && text.contains('§') {
            let kind = if kind == Type::Text { Type::Text } else { Type::Int };
            let argument = self.expression(kind, 1, scope);
            arguments = vec![argument.clone(), argument];
        }
        let mut text = text.to_owned();
        let is_plain = !text.contains("::") && !text.starts_with('(');
        if is_plain && self.prng.one_in(4) {
            text.push_str(" FILTER (WHERE §)");
            arguments.push(self.expression(Type::Bool, 1, scope));
        }
        Expression::Node(kind, text, arguments)
    }

    fn window(&mut self, kind: Type, scope: &Scope) -> Expression {
        let (partition, order) =
            (self.expression(Type::Int, 1, scope), self.expression(Type::Text, 1, scope));
        let over = "OVER (PARTITION BY § ORDER BY §)";
        let (head, mut arguments) = match kind {
            Type::BigInt => (*self.prng.pick(&["rank()", "dense_rank()", "count(*)"]), vec![]),
            Type::Bool => ("bool_or(§)", vec![self.expression(Type::Bool, 1, scope)]),
            Type::Int | Type::Text | Type::Numeric | Type::Float | Type::Date => {
                (*self.prng.pick(&["min(§)", "max(§)"]), vec![self.expression(kind, 1, scope)])
            }
            _ => return self.expression(kind, 1, scope),
        };
        arguments.extend([partition, order]);
        Expression::Node(kind, format!("({head} {over})"), arguments)
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

    fn equality(&mut self, left: &Scope, right: &Scope) -> Option<Expression> {
        let mut pairs = Vec::new();
        for l in left {
            for r in right {
                let is_colliding = l.type_of() != r.type_of()
                    && (l.type_of() == Type::CText || r.type_of() == Type::CText);
                let are_numbers = |t: Type| matches!(t, Type::Int | Type::BigInt);
                if (l.type_of().is_like(r.type_of()) && !is_colliding)
                    || (are_numbers(l.type_of()) && are_numbers(r.type_of()))
                {
                    pairs.push((l, r));
                }
            }
        }
        if pairs.is_empty() {
            return None;
        }
        let (l, r) = *self.prng.pick(&pairs);
        Some(Expression::Node(Type::Bool, "(§ = §)".to_owned(), vec![l.clone(), r.clone()]))
    }

    fn column(&mut self, kind: Type, scope: &Scope) -> Option<Expression> {
        let fitting: Vec<&Expression> = scope.iter().filter(|c| c.type_of() == kind).collect();
        match fitting.is_empty() {
            true => None,
            false => Some((*self.prng.pick(&fitting)).clone()),
        }
    }

    fn literal(&mut self, kind: Type) -> Expression {
        let value = if self.prng.one_in(15) { None } else { Some(kind.draw(self.prng)) };
        Expression::Literal(kind, value)
    }

    fn expression(&mut self, kind: Type, depth: usize, scope: &Scope) -> Expression {
        if depth == 0 || (kind != Type::Bool && self.prng.one_in(2)) {
            if !self.prng.one_in(4)
                && let Some(column) = self.column(kind, scope)
            {
                return column;
            }
            return self.literal(kind);
        }
        if depth > 1 && self.prng.one_in(10) {
            return self.subquery(kind, scope);
        }
        let (text, kinds) = self.form(kind);
        let arguments = kinds.into_iter().map(|k| self.expression(k, depth - 1, scope)).collect();
        Expression::Node(kind, text, arguments)
    }

    /// An operator or function with a result of this type.
    fn form(&mut self, kind: Type) -> (String, Vec<Type>) {
        use Type::*;
        if kind != Bool && self.prng.one_in(3) {
            return match self.prng.below(3) {
                0 => ("coalesce(§, §)".to_owned(), vec![kind, kind]),
                1 => ("(CASE WHEN § THEN § ELSE § END)".to_owned(), vec![Bool, kind, kind]),
                _ => ("nullif(§, §)".to_owned(), vec![kind, kind]),
            };
        }
        let (text, kinds): (&str, &[Type]) = match kind {
            Bool => return self.condition(),
            Int => *self.prng.pick(&[
                ("(§ + §)", &[Int, Int][..]),
                ("(§ - §)", &[Int, Int]),
                ("((§ * §) % 97)", &[Int, Int]),
                ("(§ / nullif(§, 0))", &[Int, Int]),
                ("abs(§)", &[Int]),
                ("(- §)", &[Int]),
                ("length(§)", &[Text]),
                ("greatest(§, §)", &[Int, Int]),
                ("least(§, §)", &[Int, Int]),
                ("(§ - §)", &[Date, Date]),
                ("extract(day FROM §)::int", &[Date]),
                ("cardinality(§)", &[IntArray]),
                ("(§)[1]", &[IntArray]),
                ("(§ & §)", &[Int, Int]),
                ("strpos(§, §)", &[Text, Text]),
                ("§::int", &[Bool]),
            ]),
            BigInt => *self.prng.pick(&[
                ("(§ + §)", &[BigInt, Int][..]),
                ("(§ - §)", &[BigInt, BigInt]),
                ("§::bigint", &[Int]),
                ("abs(§)", &[BigInt]),
            ]),
            Numeric => *self.prng.pick(&[
                ("(§ + §)", &[Numeric, Numeric][..]),
                ("(§ - §)", &[Numeric, Numeric]),
                ("((§ * §) % 97)::numeric(12,3)", &[Numeric, Numeric]),
                ("§::numeric(12,3)", &[Int]),
                ("abs(§)", &[Numeric]),
                ("round(§)::numeric(12,3)", &[Numeric]),
            ]),
            Float => *self.prng.pick(&[
                ("(§ + §)", &[Float, Float][..]),
                ("(§ - §)", &[Float, Float]),
                ("§::float8", &[Int]),
                ("abs(§)", &[Float]),
                ("greatest(§, §)", &[Float, Float]),
            ]),
            Text => *self.prng.pick(&[
                ("upper(§)", &[Text][..]),
                ("lower(§)", &[Text]),
                ("(§ || §)", &[Text, Text]),
                ("(§ || §)", &[Text, Int]),
                ("substr(§, 1, 2)", &[Text]),
                ("btrim(§)", &[Text]),
                ("replace(§, 'a', §)", &[Text, Text]),
                ("§::text", &[Int]),
                ("§::text", &[Numeric]),
                ("§::text", &[Date]),
                ("§::text", &[Mood]),
                ("§::text", &[Varchar]),
                ("§::text", &[Jsonb]),
                ("left(§, 1)", &[Text]),
                ("md5(§)", &[Text]),
                ("encode(§, 'hex')", &[Bytea]),
                ("(§ ->> 'a')", &[Jsonb]),
                ("(§ COLLATE \"default\")", &[CText]),
            ]),
            Date => *self.prng.pick(&[
                ("(§ + (§ % 30))", &[Date, Int][..]),
                ("greatest(§, §)", &[Date, Date]),
                ("§::date", &[Timestamp]),
            ]),
            Timestamp => *self.prng.pick(&[
                ("(§ + interval '90 minutes')", &[Timestamp][..]),
                ("date_trunc('day', §)", &[Timestamp]),
                ("§::timestamp", &[Date]),
                ("§::timestamp", &[TimestampTz]),
            ]),
            IntArray => *self.prng.pick(&[
                ("(§ || §)", &[IntArray, Int][..]),
                ("ARRAY[§, §]", &[Int, Int]),
                ("array_remove(§, §)", &[IntArray, Int]),
            ]),
            Jsonb => ("to_jsonb(§)", &[Int]),
            Range => ("(§ * §)", &[Range, Range]),
            _ => ("coalesce(§, §)", &[kind, kind]),
        };
        (text.to_owned(), kinds.to_vec())
    }

    fn condition(&mut self) -> (String, Vec<Type>) {
        use Type::*;
        let kind = self.kind();
        let comparison = *self.prng.pick(COMPARISONS);
        let (text, kinds): (&str, Vec<Type>) = match self.prng.below(22) {
            0..3 => ("(§ AND §)", vec![Bool, Bool]),
            3..6 => ("(§ OR §)", vec![Bool, Bool]),
            6 => ("(NOT §)", vec![Bool]),
            7 => {
                let test = *self.prng.pick(&["TRUE", "NOT TRUE", "FALSE", "NOT FALSE", "UNKNOWN"]);
                return (format!("(§ IS {test})"), vec![Bool]);
            }
            8 => ("(§ IS NULL)", vec![kind]),
            9 => ("(§ IS DISTINCT FROM §)", vec![kind, kind]),
            10 => ("(§ BETWEEN § AND §)", vec![kind, kind, kind]),
            11 => ("(§ IN (§, §, §))", vec![kind, kind, kind, kind]),
            12 => ("(§ NOT IN (§, §))", vec![kind, kind, kind]),
            13 => ("(§ = ANY (ARRAY[§, §]))", vec![kind, kind, kind]),
            14 => {
                let pattern = *self.prng.pick(&["a%", "%b%", "_", "%\\%", "A_"]);
                let word = *self.prng.pick(&["LIKE", "NOT LIKE", "ILIKE"]);
                return (format!("(§ {word} '{pattern}')"), vec![Text]);
            }
            15 => ("(§ ~ '^[ab]+$')", vec![Text]),
            16 => return (format!("((§, §) {comparison} (§, §))"), vec![kind, Int, kind, Int]),
            17 => match self.prng.below(4) {
                0 => ("(§ @> §)", vec![IntArray, IntArray]),
                1 => ("(§ && §)", vec![Range, Range]),
                2 => ("(§ @> §)", vec![Range, Int]),
                _ => ("(§ @> §)", vec![Jsonb, Jsonb]),
            },
            18 => return (format!("(§ {comparison} §)"), vec![Int, BigInt]),
            _ => return (format!("(§ {comparison} §)"), vec![kind, kind]),
        };
        (text.to_owned(), kinds)
    }

    /// With one row, or whose rows are only looked for.
    fn subquery(&mut self, kind: Type, outer: &Scope) -> Expression {
        let alias = self.alias();
        let table = self.table();
        let inner = scope_of(table, &alias);
        let both = [outer.clone(), inner.clone()].concat();
        // Often tied to the row outside.
        let condition = match self.equality(outer, &inner) {
            Some(equality) if self.prng.one_in(2) => equality,
            _ => self.expression(Type::Bool, 1, &both),
        };
        let from = format!("FROM {} {alias} WHERE §", table.name);
        if kind == Type::Bool {
            let of = *self.prng.pick(&[Type::Int, Type::Int, Type::Text, Type::BigInt]);
            let head = *self.prng.pick(&["EXISTS", "NOT EXISTS", "IN", "NOT IN", "> ALL", "= ANY"]);
            if head.ends_with("EXISTS") {
                return Expression::Node(
                    kind,
                    format!("({head} (SELECT 1 {from}))"),
                    vec![condition],
                );
            }
            let (left, right) = (self.expression(of, 1, outer), self.expression(of, 0, &inner));
            let text = format!("(§ {head} (SELECT § {from}))");
            return Expression::Node(kind, text, vec![left, right, condition]);
        }
        let aggregate = self.aggregate_of(kind, &inner);
        Expression::Node(kind, format!("(SELECT § {from})"), vec![aggregate, condition])
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

    fn assigned(&mut self, kind: Type, scope: &Scope) -> Expression {
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

    fn returning(&mut self, scope: &Scope) -> Vec<Expression> {
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

/// Gives a table entry owned arguments.
trait CloneWith {
    fn clone_with(self, any: Type) -> (&'static str, Vec<Type>);
}

impl CloneWith for (&'static str, &'static [Type]) {
    /// `count(§)` counts values of whatever type is asked for.
    fn clone_with(self, any: Type) -> (&'static str, Vec<Type>) {
        match self.0 {
            "count(§)" => (self.0, vec![any]),
            _ => (self.0, self.1.to_vec()),
        }
    }
}

fn scope_of(table: &Table, alias: &str) -> Scope {
    let columns = table.columns.iter();
    columns.map(|c| Expression::Atom(c.kind, format!("{alias}.{}", c.name))).collect()
}

fn numbered(alias: &str, kinds: &[Type]) -> Scope {
    let numbered = kinds.iter().enumerate();
    numbered.map(|(i, kind)| Expression::Atom(*kind, format!("{alias}.d{i}"))).collect()
}
