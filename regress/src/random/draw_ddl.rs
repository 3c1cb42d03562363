//! Draws schema changes of what is [`Present`]: the tables `a` and `b`, distributed
//! by `id`, of which `b` may reference `a`, and `c`, distributed by two columns.
//!
//! Most of them succeed. What differs on purpose (docs/differences.md) is not drawn.

use super::literals::{draw_type, literal};
use super::present::{Column, KeyType, Present, Table};
use super::prng::Prng;

const NAMES: &[&str] = &["x", "y", "z", "w", "Mixed Case", "select"];
const ACTIONS: &[&str] =
    &["", "", " ON DELETE CASCADE", " ON DELETE RESTRICT", " ON UPDATE CASCADE", " MATCH FULL"];
const DEFERRALS: &[&str] = &["", "", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"];
const MOST_COLUMNS: usize = 5;
const MOST_INDEXES: usize = 4;

/// What triggers run.
pub const CREATE_FUNCTIONS: &[&str] = &[
    "CREATE FUNCTION spare() RETURNS trigger LANGUAGE plpgsql AS
     'BEGIN IF TG_OP = ''DELETE'' THEN RETURN OLD; END IF; RETURN NEW; END'",
    "CREATE FUNCTION refuse_some() RETURNS trigger LANGUAGE plpgsql AS
     'BEGIN IF hashtext(NEW::text) % 11 = 0 THEN RETURN NULL; END IF; RETURN NEW; END'",
    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
     'BEGIN PERFORM set_config(''my.statements'', (COALESCE(NULLIF(current_setting(''my.statements'', true), ''''), ''0'')::int + 1)::text, false);
      RETURN NULL; END'",
];

/// The statements that make the tables.
pub fn create(is_sharded: bool, key: KeyType) -> Vec<String> {
    let with = |options: &str| match is_sharded {
        true => format!(" WITH ({options})"),
        false => String::new(),
    };
    let (kind, i) = (key.name(), key.of("i"));
    vec![
        format!(
            "CREATE TABLE a (id {kind} PRIMARY KEY, x int, y text DEFAULT 'd' NOT NULL, z bigint CHECK (z > -100)){}",
            with("distributed_by = 'id', num_parts = 5")
        ),
        format!(
            "CREATE TABLE b (id {kind} REFERENCES a, n int, x int, y varchar(20), PRIMARY KEY (id, n)){}",
            with("distributed_by = 'id', colocate_with = 'a'")
        ),
        format!(
            "CREATE TABLE c (k text, l int, x int, w numeric(10,2), PRIMARY KEY (k, l)){}",
            with("distributed_by = 'k, l', num_parts = 4")
        ),
        "CREATE VIEW seen AS SELECT a.id, a.x, b.n FROM a JOIN b ON a.id = b.id".to_owned(),
        format!("INSERT INTO a SELECT {i}, i FROM generate_series(1, 20) AS i"),
        format!("INSERT INTO b SELECT {i}, 1, i FROM generate_series(1, 15) AS i"),
        "INSERT INTO c SELECT 'c' || i, i, i FROM generate_series(1, 15) AS i".to_owned(),
    ]
}

/// A schema change.
pub fn draw_ddl(prng: &mut Prng, present: &Present) -> String {
    let table = present.table(prng);
    let name = table.name;
    match prng.below(32) {
        0..=3 => add_column(prng, table),
        4 | 5 if table.columns.len() > 2 => {
            let column = prng.pick(&table.columns);
            format!("ALTER TABLE {name} DROP COLUMN {} CASCADE", column.name)
        }
        6 | 7 => with_column(prng, table, |prng, column| rename(prng, table, column)),
        8 | 9 => with_column(prng, table, |prng, column| set_default(prng, table, column)),
        10 | 11 => with_column(prng, table, |prng, column| set_not_null(prng, table, column)),
        12 => with_column(prng, table, |prng, column| alter_type(prng, table, column)),
        13 | 14 => add_check(prng, table),
        15 | 16 if !table.constraints.is_empty() => {
            let constraint = prng.pick(&table.constraints);
            let (old, kind) = (&constraint.name, constraint.kind.as_str());
            match prng.below(3) {
                0 if kind == "c" && constraint.is_not_valid => {
                    format!("ALTER TABLE {name} VALIDATE CONSTRAINT {old}")
                }
                0 => format!(
                    "ALTER TABLE {name} RENAME CONSTRAINT {old} TO \"k{}\"",
                    prng.below(1000)
                ),
                _ => format!("ALTER TABLE {name} DROP CONSTRAINT {old} CASCADE"),
            }
        }
        17 if table.indexes.len() < MOST_INDEXES => with_column(prng, table, |prng, column| {
            let named = if prng.one_in(2) {
                format!("CONSTRAINT u{} ", prng.below(1000))
            } else {
                String::new()
            };
            let deferral = *prng.pick(DEFERRALS);
            format!(
                "ALTER TABLE {name} ADD {named}UNIQUE ({}, {}){deferral}",
                table.key.join(", "),
                column.name
            )
        }),
        18..=20 => add_foreign_key(prng, present),
        21..=23 if table.indexes.len() < MOST_INDEXES => {
            with_column(prng, table, |prng, column| create_index(prng, table, column))
        }
        24 if !table.indexes.is_empty() => {
            let index = prng.pick(&table.indexes);
            match prng.below(3) {
                0 => format!("ALTER INDEX {index} RENAME TO j{}", prng.below(1000)),
                _ => format!("DROP INDEX {index}"),
            }
        }
        25 | 26 if table.triggers.len() < 2 => create_trigger(prng, table),
        27 if !table.triggers.is_empty() => {
            let trigger = prng.pick(&table.triggers);
            match prng.below(4) {
                0 => format!("ALTER TABLE {name} DISABLE TRIGGER {trigger}"),
                1 => format!("ALTER TABLE {name} ENABLE TRIGGER {trigger}"),
                2 => format!("ALTER TRIGGER {trigger} ON {name} RENAME TO t{}", prng.below(1000)),
                _ => format!("DROP TRIGGER {trigger} ON {name}"),
            }
        }
        28 => with_column(prng, table, |prng, column| {
            format!("COMMENT ON COLUMN {name}.{} IS 'no {}'", column.name, prng.below(100))
        }),
        29 => with_column(prng, table, |prng, column| match prng.below(3) {
            0 => format!(
                "ALTER TABLE {name} ALTER {} SET STATISTICS {}",
                column.name,
                prng.below(200)
            ),
            1 => format!("COMMENT ON TABLE {name} IS 'no {}'", prng.below(100)),
            _ => format!("ALTER TABLE {name} ALTER {} SET (n_distinct = -0.5)", column.name),
        }),
        30 => several(prng, table),
        _ => format!("ALTER TABLE {name} {} ROW LEVEL SECURITY", prng.pick(&["ENABLE", "DISABLE"])),
    }
}

fn quoted(name: &str) -> String {
    match name {
        "Mixed Case" | "select" => format!("\"{name}\""),
        _ => name.to_owned(),
    }
}

/// A name no column has.
fn new_name(prng: &mut Prng, table: &Table) -> String {
    let free: Vec<String> = NAMES
        .iter()
        .map(|name| quoted(name))
        .filter(|name| table.columns.iter().all(|column| column.name != *name))
        .collect();
    if free.is_empty() { format!("v{}", prng.below(1000)) } else { prng.pick(&free).clone() }
}

fn with_column(
    prng: &mut Prng,
    table: &Table,
    draw: impl FnOnce(&mut Prng, &Column) -> String,
) -> String {
    if table.columns.is_empty() {
        return add_column(prng, table);
    }
    let at = prng.below(table.columns.len());
    draw(prng, &table.columns[at])
}

fn add_column(prng: &mut Prng, table: &Table) -> String {
    let name = table.name;
    if table.columns.len() >= MOST_COLUMNS && !prng.one_in(4) {
        return add_check(prng, table);
    }
    let (column, kind) = (new_name(prng, table), draw_type(prng));
    let value = literal(prng, kind);
    let first = table.key[0];
    let more = match prng.below(10) {
        0 | 1 => format!(" DEFAULT {value}"),
        2 => format!(" NOT NULL DEFAULT {value}"),
        3 => format!(" DEFAULT {value} CHECK ({column} IS NOT NULL OR {first} IS NOT NULL)"),
        4 => {
            let last = table.key[table.key.len() - 1];
            return format!(
                "ALTER TABLE {name} ADD {column} text GENERATED ALWAYS AS (COALESCE({last}::text, '') || '/') STORED"
            );
        }
        5 => {
            return format!(
                "ALTER TABLE {name} ADD {column} int DEFAULT 3 + 4 CHECK ({column} > 0)"
            );
        }
        6 => return format!("ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {column} {kind}"),
        _ => String::new(),
    };
    format!("ALTER TABLE {name} ADD COLUMN {column} {kind}{more}")
}

fn rename(prng: &mut Prng, table: &Table, column: &Column) -> String {
    let new = new_name(prng, table);
    format!("ALTER TABLE {} RENAME COLUMN {} TO {new}", table.name, column.name)
}

fn set_default(prng: &mut Prng, table: &Table, column: &Column) -> String {
    let name = table.name;
    if column.is_generated {
        return format!("ALTER TABLE {name} ALTER {} DROP EXPRESSION", column.name);
    }
    match prng.below(3) {
        0 => format!("ALTER TABLE {name} ALTER COLUMN {} DROP DEFAULT", column.name),
        _ => {
            let value = literal(prng, &column.type_name);
            format!("ALTER TABLE {name} ALTER COLUMN {} SET DEFAULT {value}", column.name)
        }
    }
}

fn set_not_null(prng: &mut Prng, table: &Table, column: &Column) -> String {
    // Rows without a value make it fail: more often than not there are some.
    let what = if column.is_not_null || !prng.one_in(4) { "DROP" } else { "SET" };
    format!("ALTER TABLE {} ALTER COLUMN {} {what} NOT NULL", table.name, column.name)
}

fn alter_type(prng: &mut Prng, table: &Table, column: &Column) -> String {
    let (name, c) = (table.name, &column.name);
    match column.type_name.as_str() {
        _ if column.is_generated => format!("COMMENT ON COLUMN {name}.{c} IS 'generated'"),
        "integer" => format!("ALTER TABLE {name} ALTER {c} TYPE bigint"),
        "smallint" => format!("ALTER TABLE {name} ALTER {c} TYPE int USING {c} + 1"),
        "character varying(20)" => format!(
            "ALTER TABLE {name} ALTER {c} TYPE {}",
            prng.pick(&["text", "varchar(40)", "text COLLATE \"C\""])
        ),
        "date" => format!("ALTER TABLE {name} ALTER {c} TYPE timestamp"),
        "text" | "bigint" => format!("ALTER TABLE {name} ALTER {c} TYPE text USING {c}::text"),
        _ if column.has_default => format!(
            "ALTER TABLE {name} ALTER {c} DROP DEFAULT, ALTER {c} TYPE text USING {c}::text"
        ),
        _ => format!("ALTER TABLE {name} ALTER {c} SET DATA TYPE text USING {c}::text"),
    }
}

fn add_check(prng: &mut Prng, table: &Table) -> String {
    let name = table.name;
    let named = match prng.one_in(2) {
        true => format!("CONSTRAINT k{} ", prng.below(1000)),
        false => String::new(),
    };
    let first = table.key[0];
    let columns = table.columns.len();
    let subject = match columns {
        0 => first.to_owned(),
        _ => prng.pick(&table.columns).name.clone(),
    };
    let condition = match prng.below(4) {
        0 => format!("{subject} IS NOT NULL OR {first} IS NOT NULL"),
        1 => format!("length({subject}::text) < 5000"),
        2 => format!("{subject}::text IS DISTINCT FROM 'five'"),
        _ => format!("{first} IS NOT NULL"),
    };
    let more = *prng.pick(&["", "", "", " NOT VALID"]);
    format!("ALTER TABLE {name} ADD {named}CHECK ({condition}){more}")
}

fn add_foreign_key(prng: &mut Prng, present: &Present) -> String {
    let b = present.named("b");
    let known: Vec<_> = b.constraints.iter().filter(|c| c.kind == "f").collect();
    if !known.is_empty() && !prng.one_in(4) {
        let old = &prng.pick(&known).name;
        return match prng.below(3) {
            0 => format!(
                "ALTER TABLE b ALTER CONSTRAINT {old} DEFERRABLE{}",
                prng.pick(&["", " INITIALLY DEFERRED"])
            ),
            1 => format!("ALTER TABLE b ALTER CONSTRAINT {old} NOT DEFERRABLE"),
            _ => format!("ALTER TABLE b DROP CONSTRAINT {old}"),
        };
    }
    let (action, deferral) = (prng.pick(ACTIONS), prng.pick(DEFERRALS));
    match prng.below(3) {
        0 => format!(
            "ALTER TABLE b ADD CONSTRAINT f{} FOREIGN KEY (id) REFERENCES a{action}{deferral}",
            prng.below(1000)
        ),
        1 => format!("ALTER TABLE b ADD FOREIGN KEY (id) REFERENCES a (id){action}{deferral}"),
        _ => format!("ALTER TABLE b ADD FOREIGN KEY (id) REFERENCES a (id){action}"),
    }
}

fn create_index(prng: &mut Prng, table: &Table, column: &Column) -> String {
    let (name, c, first) = (table.name, &column.name, table.key[0]);
    let index = if prng.one_in(2) { format!("i{} ", prng.below(1000)) } else { String::new() };
    let key = table.key.join(", ");
    match prng.below(8) {
        0 => format!("CREATE UNIQUE INDEX {index}ON {name} ({key}, {c})"),
        1 => format!("CREATE INDEX {index}ON {name} (md5({c}::text) text_pattern_ops)"),
        2 => format!("CREATE INDEX {index}ON {name} ({first} DESC NULLS LAST)"),
        3 => format!("CREATE INDEX {index}ON {name} ({first}) WHERE {c} IS NOT NULL"),
        4 => format!("CREATE INDEX {index}ON {name} ({first}) INCLUDE ({c})"),
        5 => format!("CREATE INDEX {index}ON {name} USING hash ({first})"),
        6 => format!("CREATE INDEX {index}ON {name} (({c} IS NULL), {first})"),
        _ => {
            format!("CREATE INDEX {index}ON {name} ({first}, ({c} IS NULL)) WITH (fillfactor = 80)")
        }
    }
}

fn create_trigger(prng: &mut Prng, table: &Table) -> String {
    let (name, number) = (table.name, prng.below(1000));
    let trigger = match prng.below(5) {
        0 => {
            format!("t{number} BEFORE INSERT ON {name} FOR EACH ROW EXECUTE FUNCTION refuse_some()")
        }
        1 => format!(
            "t{number} AFTER INSERT OR UPDATE OR DELETE ON {name} FOR EACH ROW EXECUTE FUNCTION spare()"
        ),
        2 => format!("t{number} BEFORE DELETE ON {name} FOR EACH ROW EXECUTE FUNCTION spare()"),
        3 => format!(
            "t{number} AFTER INSERT OR DELETE ON {name} FOR EACH STATEMENT EXECUTE FUNCTION note()"
        ),
        _ => {
            format!("t{number} BEFORE UPDATE ON {name} FOR EACH STATEMENT EXECUTE FUNCTION note()")
        }
    };
    format!("CREATE TRIGGER {trigger}")
}

/// Several changes in one statement.
fn several(prng: &mut Prng, table: &Table) -> String {
    let column = new_name(prng, table);
    let (kind, name) = (draw_type(prng), table.name);
    let value = literal(prng, kind);
    match prng.below(3) {
        0 => format!(
            "ALTER TABLE {name} ADD {column} {kind}, ADD CHECK ({column} IS NULL OR {} IS NOT NULL)",
            table.key[0]
        ),
        1 => format!(
            "ALTER TABLE {name} ADD {column} {kind} DEFAULT {value}, ALTER {column} SET NOT NULL, ALTER {column} DROP DEFAULT, ALTER {column} DROP NOT NULL"
        ),
        _ => format!(
            "ALTER TABLE {name} ADD {column} int, ADD CONSTRAINT n{} UNIQUE ({}, {column})",
            prng.below(1000),
            table.key.join(", ")
        ),
    }
}
