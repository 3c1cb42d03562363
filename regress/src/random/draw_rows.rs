//! Draws statements that read and change rows of what is [`Present`], most of
//! which succeed.
//!
//! What a statement gives does not depend on the order in which rows are met.
//! What differs on purpose (docs/differences.md) is not drawn.

use super::literals::{is_number, literal};
use super::present::{Column, Present, Table};
use super::prng::Prng;

/// Keys are those of numbers below this; some are taken, some are not.
const N_KEYS: i64 = 60;

/// A statement that changes rows.
pub fn draw_change(prng: &mut Prng, present: &Present) -> String {
    Drawing { prng, present }.change()
}

/// A statement that only reads.
pub fn draw_read(prng: &mut Prng, present: &Present) -> String {
    Drawing { prng, present }.read()
}

/// A query whose rows are in one order only, for a cursor.
pub fn draw_ordered(prng: &mut Prng, present: &Present) -> String {
    Drawing { prng, present }.ordered()
}

struct Drawing<'a> {
    prng: &'a mut Prng,
    present: &'a Present,
}

impl<'a> Drawing<'a> {
    fn change(&mut self) -> String {
        let table = self.present.table(self.prng);
        match self.prng.below(26) {
            0..=2 => self.insert_rows(table),
            3 | 4 => self.insert_select(table),
            5..=8 => self.upsert(table),
            9..=11 => self.update_point(table),
            12 => self.update_range(table),
            13 | 14 => self.update_key(table),
            15 => self.update_from(),
            16 => self.update_with_subselect(table),
            17 | 18 => self.delete_point(table),
            19 => self.delete_using(),
            20 | 21 => self.writing_with(table),
            22 => self.do_block(table),
            23 => self.merge(table),
            24 => self.merge_all(table),
            25 => match self.prng.below(3) {
                0 => "TRUNCATE b".to_owned(),
                1 => "TRUNCATE c".to_owned(),
                _ => "TRUNCATE a CASCADE".to_owned(),
            },
            _ => self.insert_rows(table),
        }
    }

    /// The key columns' values of a row that is not there.
    fn new_key(&mut self, table: &Table) -> Vec<String> {
        let kind = self.present.key_type;
        let number = self.prng.between(0, N_KEYS).to_string();
        match table.name {
            "a" => vec![kind.of(&number)],
            "b" => {
                let a = self.present.named("a");
                let id = match a.keys.is_empty() {
                    true => kind.of(&number),
                    false => self.prng.pick(&a.keys)[0].clone(),
                };
                vec![id, self.prng.between(2, 2000).to_string()]
            }
            _ => vec![format!("'c{number}'"), self.prng.between(1, 300).to_string()],
        }
    }

    /// The key of a row; mostly of one that is there.
    fn some_key(&mut self, table: &Table) -> Vec<String> {
        match table.keys.is_empty() || self.prng.one_in(12) {
            true => self.new_key(table),
            false => self.prng.pick(&table.keys).clone(),
        }
    }

    fn value(&mut self, column: &Column) -> String {
        match self.prng.below(8) {
            0 if !column.is_not_null => "NULL".to_owned(),
            1 if column.has_default => "DEFAULT".to_owned(),
            _ => literal(self.prng, &column.type_name),
        }
    }

    /// Never DEFAULT.
    fn expression(&mut self, column: &Column) -> String {
        match self.prng.below(8) {
            0 if !column.is_not_null => "NULL".to_owned(),
            _ => literal(self.prng, &column.type_name),
        }
    }

    /// Columns that an INSERT names besides the key.
    fn inserted<'t>(&mut self, table: &'t Table) -> Vec<&'t Column> {
        let mut columns = table.assignable();
        columns.retain(|column| (column.is_not_null && !column.has_default) || self.prng.one_in(2));
        columns
    }

    fn names(table: &Table, columns: &[&Column]) -> String {
        let key = table.key.iter().map(|name| (*name).to_owned());
        key.chain(columns.iter().map(|column| column.name.clone())).collect::<Vec<_>>().join(", ")
    }

    fn returning(&mut self, table: &Table) -> String {
        match self.prng.below(4) {
            0 => " RETURNING *".to_owned(),
            1 => format!(
                " RETURNING {}, {}.{} IS NULL AS missing",
                table.key.join(", "),
                table.name,
                table.key[0]
            ),
            _ => String::new(),
        }
    }

    fn some_column<'t>(&mut self, table: &'t Table) -> Option<&'t Column> {
        let all = table.assignable();
        if all.is_empty() { None } else { Some(*self.prng.pick(&all)) }
    }

    fn rows(&mut self, table: &Table, columns: &[&Column], count: usize) -> String {
        let mut rows: Vec<(Vec<String>, String)> = Vec::new();
        for _ in 0..count {
            let key = self.new_key(table);
            if rows.iter().any(|(known, _)| *known == key) {
                continue;
            }
            let values = columns.iter().map(|column| self.value(column));
            let row = key.iter().cloned().chain(values).collect::<Vec<_>>().join(", ");
            rows.push((key, format!("({row})")));
        }
        rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>().join(", ")
    }

    fn insert_rows(&mut self, table: &Table) -> String {
        let columns = self.inserted(table);
        let count = *self.prng.pick(&[1, 1, 2, 5]);
        let rows = self.rows(table, &columns, count);
        let names = Self::names(table, &columns);
        // A key that is taken after all is an error on both sides: seldom wanted.
        let conflict = if self.prng.one_in(6) { "" } else { " ON CONFLICT DO NOTHING" };
        let returning = self.returning(table);
        format!("INSERT INTO {} ({names}) VALUES {rows}{conflict}{returning}", table.name)
    }

    /// A query for rows with new keys: those that are taken are left out.
    fn new_rows(&mut self, table: &Table, columns: &[&Column]) -> String {
        let (low, n) = (self.prng.between(0, N_KEYS), self.prng.between(0, 9));
        let high = low + n;
        let kind = self.present.key_type;
        let values: Vec<String> = columns.iter().map(|column| self.expression(column)).collect();
        let more =
            |parts: &[String]| parts.iter().map(|part| format!(", {part}")).collect::<String>();
        let values = more(&values);
        match table.name {
            "a" => {
                let key = kind.of("i");
                format!(
                    "SELECT {key}{values} FROM generate_series({low}, {high}) AS i WHERE {key} NOT IN (SELECT id FROM a)"
                )
            }
            "b" => format!(
                "SELECT a.id, {low}{values} FROM a WHERE NOT EXISTS (SELECT FROM b WHERE b.id = a.id AND b.n = {low})"
            ),
            _ => format!(
                "SELECT 'c' || i, i{values} FROM generate_series({low}, {high}) AS i WHERE ('c' || i, i) NOT IN (SELECT k, l FROM c)"
            ),
        }
    }

    fn insert_select(&mut self, table: &Table) -> String {
        let columns = self.inserted(table);
        let names = Self::names(table, &columns);
        let rows = self.new_rows(table, &columns);
        let returning = self.returning(table);
        format!("INSERT INTO {} ({names}) {rows}{returning}", table.name)
    }

    fn upsert(&mut self, table: &Table) -> String {
        let columns = self.inserted(table);
        let names = Self::names(table, &columns);
        let name = table.name;
        let source = match (table.keys.is_empty(), self.prng.below(3)) {
            (false, 0) => {
                let key = self.prng.pick(&table.keys).clone();
                let values = columns.iter().map(|column| self.value(column));
                let row = key.iter().cloned().chain(values).collect::<Vec<_>>().join(", ");
                format!("VALUES ({row})")
            }
            (false, 1) => {
                let values: Vec<String> =
                    columns.iter().map(|column| format!(", {}", self.expression(column))).collect();
                format!("SELECT {}{} FROM {name}", table.key.join(", "), values.concat())
            }
            _ => format!("VALUES {}", self.rows(table, &columns, 4)),
        };
        let target = match self.prng.below(4) {
            0 => format!("ON CONSTRAINT {name}_pkey"),
            _ => format!("({})", table.key.join(", ")),
        };
        let returning = self.returning(table);
        let action = match self.some_column(table) {
            Some(column) if !self.prng.one_in(4) => {
                let c = &column.name;
                let value = match self.prng.below(5) {
                    0 | 1 => format!("EXCLUDED.{c}"),
                    2 if is_number(&column.type_name) && !column.is_not_null => {
                        format!("NULLIF(EXCLUDED.{c}, {name}.{c})")
                    }
                    3 => format!("COALESCE({name}.{c}, EXCLUDED.{c})"),
                    _ => self.value(column),
                };
                let condition = match self.prng.below(4) {
                    0 => format!(" WHERE {name}.{c} IS DISTINCT FROM EXCLUDED.{c}"),
                    1 => format!(" WHERE {name}.{} IS NOT NULL", table.key[0]),
                    _ => String::new(),
                };
                format!("{target} DO UPDATE SET {c} = {value}{condition}")
            }
            _ if self.prng.one_in(2) => "DO NOTHING".to_owned(),
            _ => format!("{target} DO NOTHING"),
        };
        format!("INSERT INTO {name} ({names}) {source} ON CONFLICT {action}{returning}")
    }

    /// SET and what follows, without the word.
    fn assignments(&mut self, table: &Table) -> Option<String> {
        let first = self.some_column(table)?;
        let second = self.some_column(table)?;
        let mut all = vec![format!("{} = {}", first.name, self.value(first))];
        if second.name != first.name && self.prng.one_in(3) {
            let value = match second.type_name == first.type_name && !second.is_not_null {
                // The old values on the right.
                true => first.name.clone(),
                false => self.value(second),
            };
            all.push(format!("{} = {value}", second.name));
        }
        Some(all.join(", "))
    }

    fn update_point(&mut self, table: &Table) -> String {
        let Some(sets) = self.assignments(table) else { return self.insert_rows(table) };
        let key = self.some_key(table);
        let condition = match self.prng.below(3) {
            0 => table.is_place("", &key),
            _ => table.is_row("", &key),
        };
        let returning = self.returning(table);
        format!("UPDATE {} SET {sets} WHERE {condition}{returning}", table.name)
    }

    fn update_range(&mut self, table: &Table) -> String {
        let Some(sets) = self.assignments(table) else { return self.insert_rows(table) };
        let condition = self.condition(table, "");
        let returning = self.returning(table);
        format!("UPDATE {} SET {sets} WHERE {condition}{returning}", table.name)
    }

    /// A condition over one table.
    fn condition(&mut self, table: &Table, prefix: &str) -> String {
        let (one, other) = (self.some_key(table), self.some_key(table));
        let first = table.key[0];
        match self.prng.below(6) {
            0 => format!("{prefix}{first} IN ({}, {})", one[0], other[0]),
            1 => format!("{prefix}{first} >= {}", one[0]),
            2 => format!("({}) OR ({})", table.is_row(prefix, &one), table.is_row(prefix, &other)),
            3 => match self.some_column(table) {
                Some(column) => format!("{prefix}{} IS NOT NULL", column.name),
                None => "true".to_owned(),
            },
            4 => table.is_place(prefix, &one),
            _ => format!(
                "{prefix}{first} = ANY (ARRAY[{}, {}])",
                self.typed(table, &one),
                self.typed(table, &other)
            ),
        }
    }

    fn typed(&self, table: &Table, key: &[String]) -> String {
        match table.name {
            "c" => format!("{}::text", key[0]),
            _ => format!("{}::{}", key[0], self.present.key_type.name()),
        }
    }

    fn typed_key(&mut self, table: &Table) -> String {
        let key = self.some_key(table);
        self.typed(table, &key)
    }

    /// Rows that go to other partitions, or stay where they are.
    fn update_key(&mut self, table: &Table) -> String {
        let referenced_with_action =
            self.present.named("b").constraints.iter().any(|constraint| constraint.acts);
        let old = self.some_key(table);
        let new = self.new_key(table);
        let returning = self.returning(table);
        let condition = table.is_row("", &old);
        let name = table.name;
        match name {
            "a" if referenced_with_action => self.update_point(table),
            "a" => format!(
                "UPDATE a SET id = {} WHERE {condition} AND NOT EXISTS (SELECT FROM b WHERE b.id = a.id)
                 AND NOT EXISTS (SELECT FROM a AS o WHERE o.id = {}){returning}", new[0], new[0]),
            "b" => match self.prng.below(3) {
                0 => format!("UPDATE b SET n = n + 3000 WHERE {condition}{returning}"),
                1 => format!("UPDATE b SET id = id, n = n + 3000 WHERE {condition}{returning}"),
                _ => format!("UPDATE b SET id = {}, n = n + 3000 WHERE {condition}{returning}", new[0]),
            },
            _ => match self.prng.below(3) {
                0 => format!("UPDATE c SET l = l + 1000 WHERE {condition}{returning}"),
                1 => format!("UPDATE c SET k = k || '+' WHERE {condition}{returning}"),
                _ => format!("UPDATE c SET (k, l) = (SELECT k || '*', l + 1000){returning}"),
            },
        }
    }

    fn update_from(&mut self) -> String {
        let (a, b) = (self.present.named("a"), self.present.named("b"));
        let (key, other) = (self.typed_key(a), self.typed_key(a));
        let condition = self.condition(a, "a.");
        let value = |column: &Column, from: &Table| {
            let fitting = from.columns.iter().find(|other| other.type_name == column.type_name);
            fitting
                .filter(|_| !column.is_not_null)
                .map(|other| format!("{}.{}", from.name, other.name))
        };
        let Some(column) = self.some_column(b) else { return self.insert_rows(b) };
        let new = value(column, a).unwrap_or_else(|| self.value(column));
        let c = &column.name;
        match self.prng.below(3) {
            0 => format!("UPDATE b SET {c} = {new} FROM a WHERE a.id = b.id AND a.id = {key}"),
            1 => format!(
                "UPDATE b SET {c} = {new} FROM a WHERE a.id = b.id AND ({condition}) RETURNING b.id, n, a.id"
            ),
            _ => format!(
                "UPDATE b SET {c} = {} FROM (VALUES ({key}, 1), ({other}, 2)) AS v (i, m) WHERE v.i = b.id AND b.n = v.m",
                self.value(column)
            ),
        }
    }

    fn update_with_subselect(&mut self, table: &Table) -> String {
        let numbers: Vec<&Column> = table
            .assignable()
            .into_iter()
            .filter(|c| c.type_name == "bigint" || c.type_name == "integer")
            .collect();
        if numbers.is_empty() {
            return self.update_range(table);
        }
        let column = &self.prng.pick(&numbers).name;
        let key = self.some_key(table);
        let from = match self.prng.below(3) {
            0 => "SELECT count(*) FROM b".to_owned(),
            1 => format!(
                "SELECT count(*) FROM {} AS o WHERE o.{k} = {}.{k}",
                table.name,
                table.name,
                k = table.key[0]
            ),
            _ => "SELECT max(l) FROM c WHERE k > 'c1'".to_owned(),
        };
        let value = format!("COALESCE(({from}), 0)");
        match self.prng.one_in(2) {
            true => format!(
                "UPDATE {} SET {column} = {value} WHERE {}",
                table.name,
                table.is_row("", &key)
            ),
            false => format!(
                "UPDATE {} SET {column} = {value} RETURNING {}, {column}",
                table.name,
                table.key.join(", ")
            ),
        }
    }

    fn delete_point(&mut self, table: &Table) -> String {
        let key = self.some_key(table);
        let condition = match self.prng.one_in(4) {
            true => self.condition(table, ""),
            false => table.is_row("", &key),
        };
        let returning = self.returning(table);
        let spared = match table.name {
            "a" if self.present.named("b").constraints.iter().any(|c| c.kind == "f" && !c.acts) => {
                " AND NOT EXISTS (SELECT FROM b WHERE b.id = a.id)"
            }
            _ => "",
        };
        format!("DELETE FROM {} WHERE ({condition}){spared}{returning}", table.name)
    }

    fn delete_using(&mut self) -> String {
        let a = self.present.named("a");
        let key = self.some_key(a);
        match self.prng.below(3) {
            0 => format!("DELETE FROM b USING a WHERE a.id = b.id AND a.id = {}", key[0]),
            1 => format!(
                "DELETE FROM b USING a WHERE a.id = b.id AND a.id <= {} RETURNING b.id, b.n, a.*",
                key[0]
            ),
            _ => "DELETE FROM c USING b WHERE c.l = b.n RETURNING c.k, c.l".to_owned(),
        }
    }

    /// WITH queries that write.
    fn writing_with(&mut self, table: &Table) -> String {
        let key = self.some_key(table);
        let name = table.name;
        let returned = table.key.join(", ");
        let c = self.present.named("c");
        match self.prng.below(4) {
            0 if name != "a" => format!(
                "WITH gone AS (DELETE FROM {name} WHERE {} RETURNING {returned})
                 SELECT count(*), count({}) FROM gone",
                table.is_place("", &key),
                table.key[0]
            ),
            1 if c.columns.iter().all(|column| !column.is_not_null || column.has_default) => {
                let key = self.some_key(c);
                format!(
                    "WITH gone AS (DELETE FROM c WHERE {} RETURNING k, l)
                     INSERT INTO c (k, l) SELECT k || '!', l FROM gone ON CONFLICT DO NOTHING RETURNING k, l",
                    c.is_row("", &key)
                )
            }
            2 => match self.some_column(table) {
                Some(column) => format!(
                    "WITH changed AS (UPDATE {name} SET {} = {} WHERE {} RETURNING {returned})
                     SELECT {returned} FROM changed JOIN {name} USING ({returned})",
                    column.name,
                    self.value(column),
                    table.is_place("", &key)
                ),
                None => self.insert_rows(table),
            },
            _ => {
                let columns = self.inserted(table);
                let names = Self::names(table, &columns);
                let rows = self.new_rows(table, &columns);
                format!(
                    "WITH added AS (INSERT INTO {name} ({names}) {rows} RETURNING {returned}) SELECT count(*) FROM added"
                )
            }
        }
    }

    fn do_block(&mut self, table: &Table) -> String {
        let change = self.update_point(table);
        let change = change.split(" RETURNING ").next().unwrap_or_default().to_owned();
        let added = self.insert_rows(table);
        let added = added.split(" RETURNING ").next().unwrap_or_default().to_owned();
        match self.prng.below(3) {
            0 => format!("DO $$ BEGIN {change}; {added}; END $$"),
            1 => format!("DO $$ BEGIN {change}; BEGIN {added}; PERFORM 1 / (SELECT 0); EXCEPTION WHEN division_by_zero THEN NULL; END; END $$"),
            _ => format!(
                "DO $$ DECLARE r record; s bigint := 0; BEGIN FOR r IN SELECT * FROM {name} ORDER BY {key} LOOP s := s + 1; END LOOP;
                 {change}; IF s > 1000 THEN RAISE EXCEPTION 'many'; END IF; END $$", name = table.name, key = table.key.join(", ")),
        }
    }

    /// What MERGE does that a router can send whole.
    fn merge(&mut self, table: &Table) -> String {
        let name = table.name;
        let key = self.some_key(table);
        let mut columns = table.assignable();
        columns.retain(|column| column.is_not_null && !column.has_default);
        let names = Self::names(table, &columns);
        let values: Vec<String> =
            columns.iter().map(|column| format!(", {}", self.expression(column))).collect();
        let source_names: Vec<String> = (0..key.len()).map(|i| format!("s{i}")).collect();
        let types = match name {
            "a" => vec![self.present.key_type.name()],
            "b" => vec![self.present.key_type.name(), "int"],
            _ => vec!["text", "int"],
        };
        let row: Vec<String> =
            key.iter().zip(&types).map(|(value, kind)| format!("{value}::{kind}")).collect();
        let on: Vec<String> =
            table.key.iter().zip(&source_names).map(|(k, s)| format!("t.{k} = v.{s}")).collect();
        let fixed = table.is_place("t.", &key);
        let matched = match (self.some_column(table), self.prng.below(4)) {
            (_, 0) if name != "a" => "WHEN MATCHED THEN DELETE".to_owned(),
            (_, 1) => "WHEN MATCHED THEN DO NOTHING".to_owned(),
            (Some(column), _) => format!(
                "WHEN MATCHED AND t.{first} IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET {} = {}",
                column.name,
                self.value(column),
                first = table.key[0]
            ),
            (None, _) => String::new(),
        };
        let not_matched = match self.prng.below(4) {
            0 => String::new(),
            1 => "WHEN NOT MATCHED THEN DO NOTHING".to_owned(),
            _ => format!(
                "WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({}{})",
                source_names.iter().map(|s| format!("v.{s}")).collect::<Vec<_>>().join(", "),
                values.concat()
            ),
        };
        let otherwise = if matched.is_empty() && not_matched.is_empty() {
            "WHEN MATCHED THEN DO NOTHING"
        } else {
            ""
        };
        format!(
            "MERGE INTO {name} AS t USING (VALUES ({})) AS v ({}) ON {} AND {fixed} {matched} {not_matched}{otherwise}",
            row.join(", "),
            source_names.join(", "),
            on.join(" AND ")
        )
    }

    /// MERGE of rows for several partitions.
    fn merge_all(&mut self, table: &Table) -> String {
        let name = table.name;
        let mut columns = table.assignable();
        columns.retain(|column| column.is_not_null && !column.has_default);
        let names = Self::names(table, &columns);
        let values: Vec<String> =
            columns.iter().map(|column| format!(", {}", self.expression(column))).collect();
        let values = values.concat();
        let a = self.present.named("a");
        let (one, other) = (self.typed_key(a), self.typed_key(a));
        let (source, on, key) = match name {
            "a" => {
                let source = match self.prng.below(3) {
                    0 => "(SELECT DISTINCT id FROM b)".to_owned(),
                    1 => {
                        "(SELECT id FROM b WHERE n > 0 GROUP BY id HAVING count(*) > 1)".to_owned()
                    }
                    _ if one == other => format!("(SELECT {one} AS id)"),
                    _ => format!("(VALUES ({one}), ({other}))"),
                };
                (format!("{source} AS v (id)"), "t.id = v.id", "v.id")
            }
            "b" => ("a AS v".to_owned(), "t.id = v.id AND t.n = 1", "v.id, 1"),
            _ => (
                "(VALUES ('c1', 1), ('c2', 2), ('c3', 3), ('c4', 999)) AS v (k, l)".to_owned(),
                "t.k = v.k AND t.l = v.l",
                "v.k, v.l",
            ),
        };
        let matched = match self.some_column(table) {
            Some(column) => {
                format!("WHEN MATCHED THEN UPDATE SET {} = {}", column.name, self.value(column))
            }
            None => "WHEN MATCHED THEN DO NOTHING".to_owned(),
        };
        let deleted = match name {
            "a" => String::new(),
            _ => format!(
                "WHEN MATCHED AND t.{} > {} THEN DELETE ",
                table.key[1],
                self.prng.between(2, 900)
            ),
        };
        let inserted = match self.prng.below(3) {
            0 => String::new(),
            _ => format!(" WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({key}{values})"),
        };
        format!("MERGE INTO {name} AS t USING {source} ON {on} {deleted}{matched}{inserted}")
    }

    fn read(&mut self) -> String {
        let table = self.present.table(self.prng);
        let (name, key) = (table.name, self.some_key(table));
        let keys = table.key.join(", ");
        let lock =
            *self.prng.pick(&["FOR UPDATE", "FOR SHARE", "FOR NO KEY UPDATE", "FOR KEY SHARE"]);
        let how = *self.prng.pick(&["", " NOWAIT", " SKIP LOCKED"]);
        let condition = self.condition(table, "");
        match self.prng.below(13) {
            0 => format!("SELECT * FROM {name} WHERE {} {lock}{how}", table.is_row("", &key)),
            1 => format!("SELECT {keys} FROM {name} WHERE {condition} {lock}{how}"),
            2 => format!("SELECT count(*), count(DISTINCT {}) FROM {name} WHERE {condition}", table.key[0]),
            3 => format!("SELECT *, row_number() OVER (ORDER BY {keys}) FROM {name} WHERE {}", table.is_place("", &key)),
            4 => format!("SELECT {keys}, count(*) OVER (PARTITION BY {}) FROM {name} WHERE {condition}", table.key[0]),
            5 => format!("SELECT {}, count(*) FROM {name} GROUP BY GROUPING SETS (({0}), ())", table.key[0]),
            6 => "SELECT a.id, b.n, a.*, b FROM a LEFT JOIN b ON a.id = b.id".to_owned(),
            7 => format!("SELECT t, t.* FROM {name} AS t WHERE {}", table.is_row("", &key)),
            8 => "WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 5) SELECT i, count(c.l) FROM r LEFT JOIN c ON c.l = r.i GROUP BY i".to_owned(),
            9 => format!("SELECT * FROM {name} WHERE {condition} ORDER BY {keys} LIMIT 3 OFFSET 1"),
            10 => "SELECT id FROM a EXCEPT SELECT id FROM b UNION ALL SELECT id FROM b WHERE n > 1".to_owned(),
            11 => "SELECT * FROM seen".to_owned(),
            _ => "SELECT x.id, y.m FROM a AS x CROSS JOIN LATERAL (SELECT max(n) AS m FROM b WHERE b.id = x.id) AS y".to_owned(),
        }
    }

    fn ordered(&mut self) -> String {
        let table = self.present.table(self.prng);
        let (name, keys, key) = (table.name, table.key.join(", "), self.some_key(table));
        match self.prng.below(4) {
            0 => format!("SELECT * FROM {name} WHERE {} ORDER BY {keys}", table.is_place("", &key)),
            1 => format!("SELECT {keys} FROM {name} ORDER BY {keys}"),
            2 => "SELECT a.id, n FROM a LEFT JOIN b ON a.id = b.id ORDER BY 1, 2".to_owned(),
            _ => format!("SELECT {keys}, count(*) OVER () FROM {name} ORDER BY {keys} DESC"),
        }
    }
}
