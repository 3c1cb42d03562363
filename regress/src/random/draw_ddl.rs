//! Draws schema changes and changes of rows of two tables, `a` and `b`, both
//! distributed by `id`, of which `b` may reference `a`.
//!
//! Names come from small sets, so that statements meet what earlier ones made, or
//! do not find it. What differs on purpose (docs/differences.md) is not drawn.

use super::prng::Prng;

const COLUMNS: &[&str] = &["x", "y", "z", "Mixed Case"];
const TYPES: &[(&str, &str)] = &[
    ("int", "7"),
    ("bigint", "8"),
    ("text", "'t'"),
    ("varchar(20)", "'v'"),
    ("numeric(10,2)", "1.5"),
    ("boolean", "true"),
    ("date", "'2024-02-29'"),
    ("jsonb", "'{\"k\": 1}'"),
];
const ACTIONS: &[&str] =
    &["", " ON DELETE CASCADE", " ON DELETE RESTRICT", " ON UPDATE CASCADE", " MATCH FULL"];
const DEFERRALS: &[&str] = &["", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"];

/// The statements that make the tables.
pub fn create(is_sharded: bool) -> Vec<String> {
    let with = |options: &str| match is_sharded {
        true => format!(" WITH ({options})"),
        false => String::new(),
    };
    vec![
        format!(
            "CREATE TABLE a (id int PRIMARY KEY, x int, y text DEFAULT 'd' NOT NULL, z int, CHECK (x > -100)){}",
            with("distributed_by = 'id', num_parts = 5")
        ),
        format!(
            "CREATE TABLE b (id int REFERENCES a ON DELETE CASCADE, n int, x int, y varchar(20), PRIMARY KEY (id, n)){}",
            with("distributed_by = 'id', colocate_with = 'a'")
        ),
        "INSERT INTO a SELECT i, i FROM generate_series(1, 20) AS i".to_owned(),
        "INSERT INTO b SELECT i, 1, i FROM generate_series(1, 15) AS i".to_owned(),
    ]
}

/// A statement, and whether it changes the schema.
pub fn draw(prng: &mut Prng) -> (String, bool) {
    if prng.one_in(2) { (draw_change(prng), false) } else { (draw_ddl(prng), true) }
}

fn table(prng: &mut Prng) -> &'static str {
    *prng.pick(&["a", "b"])
}

fn column(prng: &mut Prng) -> String {
    let name: &str = *prng.pick(COLUMNS);
    quoted(name)
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

fn draw_ddl(prng: &mut Prng) -> String {
    let (table, column, other) = (table(prng), column(prng), column(prng));
    let (kind, value) = *prng.pick(TYPES);
    let name = *prng.pick(&["k1", "k2", "k3"]);
    let action = match prng.below(21) {
        0..=2 => {
            let default = if prng.one_in(2) { format!(" DEFAULT {value}") } else { String::new() };
            let more = *prng.pick(&["", " NOT NULL", " CHECK (true)"]);
            format!("ADD COLUMN {column} {kind}{default}{more}")
        }
        3 => {
            format!("ADD COLUMN IF NOT EXISTS {column} {kind}, ALTER COLUMN {column} DROP NOT NULL")
        }
        4 if prng.one_in(2) => format!("DROP COLUMN {column}{}", prng.pick(&["", " CASCADE"])),
        5 => format!("RENAME COLUMN {column} TO {other}"),
        6 => format!("ALTER COLUMN {column} SET DEFAULT {value}"),
        7 => format!("ALTER COLUMN {column} DROP DEFAULT"),
        8 => format!("ALTER COLUMN {column} {} NOT NULL", prng.pick(&["SET", "DROP"])),
        9 => format!("ALTER COLUMN {column} TYPE text USING {column}::text"),
        10 => format!("ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL OR id > 5)"),
        11 => format!("ADD CHECK (length({column}::text) < 50)"),
        12 => format!("DROP CONSTRAINT {}{name}", prng.pick(&["", "IF EXISTS "])),
        13 => format!("RENAME CONSTRAINT {name} TO k2"),
        14 => format!("ADD CONSTRAINT {name} UNIQUE (id, {column})"),
        15 => format!("ADD UNIQUE ({column}, id)"),
        16 | 17 => {
            let (action, deferral) = (prng.pick(ACTIONS), prng.pick(DEFERRALS));
            return match prng.below(3) {
                0 => format!(
                    "ALTER TABLE b ADD CONSTRAINT {name} FOREIGN KEY (id) REFERENCES a{action}{deferral}"
                ),
                1 => format!(
                    "ALTER TABLE b ADD FOREIGN KEY (id) REFERENCES a (id){action}{deferral}"
                ),
                _ => format!(
                    "ALTER TABLE b ADD CONSTRAINT {name} FOREIGN KEY (id, {column}) REFERENCES a (id, {other}){action}{deferral}"
                ),
            };
        }
        18 => {
            let unique = if prng.one_in(3) { "UNIQUE " } else { "" };
            let index = *prng.pick(&["", "i1 ", "i2 "]);
            let key = match unique {
                "" => prng
                    .pick(&["{c}", "id, {c}", "lower({c}::text)", "{c} DESC NULLS LAST"])
                    .to_string(),
                _ => "id, {c}".to_owned(),
            };
            let part = *prng.pick(&["", " WHERE id > 3"]);
            return format!(
                "CREATE {unique}INDEX {index}ON {table} ({}){part}",
                key.replace("{c}", &column)
            );
        }
        19 => return format!("DROP INDEX {}", prng.pick(&["i1", "i2", "IF EXISTS i1"])),
        _ => return format!("COMMENT ON COLUMN {table}.{column} IS 'about {kind}'"),
    };
    format!("ALTER TABLE {table} {action}")
}

fn draw_change(prng: &mut Prng) -> String {
    let (table, column) = (table(prng), column(prng));
    let (from, to) = (prng.below(25), prng.below(25));
    let (_, value) = *prng.pick(TYPES);
    let conflict = match table {
        "a" => "(id)",
        _ => "(id, n)",
    };
    let source = match table {
        "a" => {
            format!("a (id, {column}) SELECT i, {value} FROM generate_series({from}, {to}) AS i")
        }
        _ => format!(
            "b (id, n, {column}) SELECT i, 1 + i % 2, {value} FROM generate_series({from}, {to}) AS i"
        ),
    };
    match prng.below(10) {
        0 | 1 => format!("INSERT INTO {source}"),
        2 => format!("INSERT INTO {source} ON CONFLICT DO NOTHING RETURNING id"),
        3 => format!("INSERT INTO {source} ON CONFLICT {conflict} DO NOTHING"),
        4 => format!(
            "INSERT INTO {source} ON CONFLICT {conflict} DO UPDATE SET {column} = EXCLUDED.{column} RETURNING *"
        ),
        5 => format!(
            "INSERT INTO {source} ON CONFLICT {conflict} DO UPDATE SET {column} = {value} WHERE {table}.id % 2 = 0"
        ),
        6 => format!(
            "UPDATE {table} SET {column} = {value} WHERE id BETWEEN {from} AND {to} RETURNING id, {column}"
        ),
        7 => format!("UPDATE b SET x = a.x FROM a WHERE a.id = b.id AND a.id > {from}"),
        8 => format!("DELETE FROM {table} WHERE id = {from} RETURNING id"),
        _ => format!("DELETE FROM b USING a WHERE a.id = b.id AND a.id = {from}"),
    }
}
