//! Values of columns whose type the server names, edges included.

use super::prng::Prng;

/// Types of columns: how they are declared, how `format_type` prints them, and
/// literals.
const TYPES: &[(&str, &str, &[&str])] = &[
    ("int", "integer", &["0", "1", "7", "'-3'", "2147483647", "'-2147483648'"]),
    ("bigint", "bigint", &["0", "8", "9223372036854775807", "'-9223372036854775808'"]),
    ("smallint", "smallint", &["0", "5", "32767", "'-32768'"]),
    (
        "text",
        "text",
        &["''", "'t'", "'T'", "'é€'", "'q''q'", "E'a\\nb\\\\'", "'NULL'", "repeat('long', 700)"],
    ),
    ("varchar(20)", "character varying(20)", &["''", "'v'", "'twenty characters xx'", "'%_'"]),
    ("char(4)", "character(4)", &["''", "'c'", "'four'", "'é'"]),
    ("numeric(10,2)", "numeric(10,2)", &["0", "1.5", "'-99999999.99'", "'NaN'"]),
    ("float8", "double precision", &["0", "'-0'", "0.25", "'NaN'", "'-Infinity'", "1e308"]),
    ("boolean", "boolean", &["true", "false"]),
    ("date", "date", &["'2024-02-29'", "'infinity'", "'0044-03-15 BC'"]),
    ("timestamptz", "timestamp with time zone", &["'2024-03-31 01:30:00+00'", "'-infinity'"]),
    ("interval", "interval", &["'1 mon -1 day'", "'00:00:00.000001'"]),
    (
        "uuid",
        "uuid",
        &["'00000000-0000-0000-0000-000000000000'", "'ffffffff-0000-1111-2222-333333333333'"],
    ),
    ("jsonb", "jsonb", &["'null'", "'{\"k\": 1}'", "'[]'", "'\"\\u00e9\"'"]),
    ("int[]", "integer[]", &["'{}'", "'{1,NULL,3}'", "'{{1,2},{3,4}}'"]),
    ("bytea", "bytea", &["''", "'\\x00ff5c27'"]),
    ("int4range", "int4range", &["'empty'", "'[1,4)'", "'(,)'"]),
    ("mood", "mood", &["'sad'", "'so so'", "'happy'"]),
    ("short", "short", &["'ab'", "''"]),
];

/// What must be there on all nodes before the tables.
pub const CREATE_TYPES: &[&str] = &[
    "CREATE TYPE mood AS ENUM ('sad', 'so so', 'happy')",
    "CREATE DOMAIN short AS text CHECK (length(VALUE) < 4)",
];

/// A type as it is declared.
pub fn draw_type(prng: &mut Prng) -> &'static str {
    prng.pick(TYPES).0
}

/// A literal of a declared type.
pub fn literal(prng: &mut Prng, declared: &str) -> String {
    let known = TYPES.iter().find(|(name, printed, _)| *name == declared || *printed == declared);
    let literals = known.map_or(&["NULL"][..], |(_, _, literals)| literals);
    format!("{}::{declared}", prng.pick::<&str>(literals))
}

/// Numbers: what arithmetic is drawn over.
pub fn is_number(type_name: &str) -> bool {
    matches!(type_name, "integer" | "bigint" | "numeric(10,2)" | "double precision")
}
