//! Draws expressions. Tables of forms: what to add to test another operator.

use super::expression::Expression;
use super::generator::{Generator, Scope, scope_of};
use super::values::Type;

const COMPARISONS: &[&str] = &["=", "=", "=", "<>", "<", "<=", ">", ">="];

impl Generator<'_> {
    pub(super) fn aggregate_of(&mut self, kind: Type, scope: &Scope) -> Expression {
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

    pub(super) fn window(&mut self, kind: Type, scope: &Scope) -> Expression {
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

    pub(super) fn equality(&mut self, left: &Scope, right: &Scope) -> Option<Expression> {
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
        // Often of columns that tables are distributed by: those joins run where the rows are.
        let name = |e: &Expression| e.text().rsplit('.').next().map(str::to_owned);
        let is_key = |e: &Expression| matches!(name(e).as_deref(), Some("id" | "k"));
        let keys: Vec<_> =
            pairs.iter().filter(|(l, r)| is_key(l) && name(l) == name(r)).copied().collect();
        let (l, r) = match keys.is_empty() || self.prng.one_in(2) {
            true => *self.prng.pick(&pairs),
            false => *self.prng.pick(&keys),
        };
        Some(Expression::Node(Type::Bool, "(§ = §)".to_owned(), vec![l.clone(), r.clone()]))
    }

    pub(super) fn column(&mut self, kind: Type, scope: &Scope) -> Option<Expression> {
        let fitting: Vec<&Expression> = scope.iter().filter(|c| c.type_of() == kind).collect();
        match fitting.is_empty() {
            true => None,
            false => Some((*self.prng.pick(&fitting)).clone()),
        }
    }

    pub(super) fn literal(&mut self, kind: Type) -> Expression {
        let value = if self.prng.one_in(15) { None } else { Some(kind.draw(self.prng)) };
        Expression::Literal(kind, value)
    }

    pub(super) fn expression(&mut self, kind: Type, depth: usize, scope: &Scope) -> Expression {
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
                ("((§ % 997) * (§ % 997) % 97)", &[Int, Int]),
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
    pub(super) fn subquery(&mut self, kind: Type, outer: &Scope) -> Expression {
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
