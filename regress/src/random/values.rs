//! Types, and literals drawn from pools so small that rows meet in joins.

use super::prng::Prng;

/// A type of columns and expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `boolean`
    Bool,
    /// `int`
    Int,
    /// `bigint`
    BigInt,
    /// `numeric(12,3)`: one scale, so that equal numbers look alike
    Numeric,
    /// `float8`, quarters only: sums are exact in any order
    Float,
    /// `text`
    Text,
    /// `varchar(12)`
    Varchar,
    /// `text COLLATE "C"`
    CText,
    /// `date`
    Date,
    /// `timestamp`
    Timestamp,
    /// `timestamptz`
    TimestampTz,
    /// `uuid`
    Uuid,
    /// `int[]`
    IntArray,
    /// `jsonb`
    Jsonb,
    /// `bytea`
    Bytea,
    /// `int4range`
    Range,
    /// An enum, made on each node by itself
    Mood,
}

use Type::*;

impl Type {
    /// All of them.
    pub const ALL: &[Type] = &[
        Bool,
        Int,
        BigInt,
        Numeric,
        Float,
        Text,
        Varchar,
        CText,
        Date,
        Timestamp,
        TimestampTz,
        Uuid,
        IntArray,
        Jsonb,
        Bytea,
        Range,
        Mood,
    ];
    /// Those a table may be distributed by.
    pub const KEYS: &[Type] = &[Int, Int, Int, BigInt, Text, Varchar, Date, Uuid, Numeric];
    /// Those that many expressions are made of.
    pub const COMMON: &[Type] = &[Int, Int, Text, Bool, Numeric, BigInt, Float, Date, Timestamp];

    /// As in a column definition.
    pub fn definition(self) -> &'static str {
        match self {
            CText => "text COLLATE \"C\"",
            other => other.name(),
        }
    }

    /// As in a cast.
    pub fn name(self) -> &'static str {
        match self {
            Bool => "boolean",
            Int => "int",
            BigInt => "bigint",
            Numeric => "numeric(12,3)",
            Float => "float8",
            Text | CText => "text",
            Varchar => "varchar(12)",
            Date => "date",
            Timestamp => "timestamp",
            TimestampTz => "timestamptz",
            Uuid => "uuid",
            IntArray => "int[]",
            Jsonb => "jsonb",
            Bytea => "bytea",
            Range => "int4range",
            Mood => "mood",
        }
    }

    /// Whether expressions of the two are set side by side without a cast.
    pub fn is_like(self, other: Type) -> bool {
        let class = |t| match t {
            Text | Varchar | CText => Text,
            t => t,
        };
        class(self) == class(other)
    }

    /// A literal's text, without quotes.
    pub fn draw(self, prng: &mut Prng) -> String {
        match self {
            Bool => (*prng.pick(&["t", "f"])).to_owned(),
            Int | BigInt => match prng.below(8) {
                0 => prng.between(-30, 60).to_string(),
                _ => prng.between(0, 12).to_string(),
            },
            Numeric => format!("{}.{}00", prng.between(-3, 9), prng.pick(&[0, 0, 5, 7])),
            Float => format!("{}.{}", prng.between(0, 6), prng.pick(&["0", "25", "5", "75"])),
            Text | Varchar | CText => (*prng.pick(&[
                "", "a", "b", "B", "ab", "abc", "Ab", " x ", "é", "zz", "q'q", "b\\", "%", "a_c",
                "Zoë", "10", "9",
            ]))
            .to_owned(),
            Date => format!("2020-0{}-{:02}", prng.between(1, 2), prng.between(1, 9)),
            Timestamp => {
                format!("2020-01-0{} {:02}:00:00", prng.between(1, 4), prng.pick(&[0, 6, 23]))
            }
            TimestampTz => {
                format!("2020-03-2{} {:02}:00:00+00", prng.between(7, 9), prng.pick(&[0, 1, 2, 23]))
            }
            Uuid => format!("00000000-0000-0000-0000-00000000000{}", prng.between(0, 9)),
            IntArray => {
                let n = prng.below(4);
                let values: Vec<String> = (0..n)
                    .map(|_| match prng.below(6) {
                        0 => "NULL".to_owned(),
                        _ => prng.between(0, 4).to_string(),
                    })
                    .collect();
                format!("{{{}}}", values.join(","))
            }
            Jsonb => (*prng.pick(&[
                "null",
                "{}",
                "1",
                "\"a\"",
                "[1, 2]",
                "{\"a\": 1}",
                "{\"a\": {\"b\": [null]}}",
                "{\"a\": null}",
            ]))
            .to_owned(),
            Bytea => (*prng.pick(&["\\x", "\\x00", "\\x00ff", "\\x5c27", "\\xab"])).to_owned(),
            Range => (*prng.pick(&["empty", "[1,4)", "[2,2]", "(,3]", "[3,)", "(,)"])).to_owned(),
            Mood => (*prng.pick(&["sad", "ok", "happy", "so so"])).to_owned(),
        }
    }
}

/// The enum behind [`Type::Mood`]; its order is not that of the alphabet.
pub const CREATE_MOOD: &str = "CREATE TYPE mood AS ENUM ('sad', 'so so', 'ok', 'happy')";

/// `text` as a quoted literal.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
