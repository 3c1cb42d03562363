//! What a transaction did to a partition, as SQL over its copy.

use std::collections::HashMap;

use super::change::Column;
use super::{Change, Malformed, Relation, Tuple, Value};
use crate::sharding::{MOVING_SCHEMA, quote_identifier};

/// Rows of one INSERT at most.
const ROWS_TOGETHER: u64 = 200;

/// Types of which equal values look the same, so that an index on them serves
/// to find a row by all of its columns: bool, bytea, int8, int2, int4, text,
/// oid, bpchar, varchar, date, timestamp, timestamptz, uuid.
const PLAINLY_EQUAL: [u32; 13] = [16, 17, 20, 21, 23, 25, 26, 1042, 1043, 1082, 1114, 1184, 2950];

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its text.
    pub sql: String,
    /// The number of rows that it must change; `None` for any.
    pub rows: Option<u64>,
}

/// Turns messages into statements, in their order.
#[derive(Debug, Default)]
pub struct ChangesAsSql {
    relations: HashMap<u32, Relation>,
    insert: Option<Insert>,
}

/// An INSERT that may take more rows.
#[derive(Debug)]
struct Insert {
    relation: u32,
    sql: String,
    rows: u64,
}

impl ChangesAsSql {
    /// Takes one message; returns the statements that are ready.
    pub fn take(&mut self, change: Change) -> Result<Vec<Statement>, Malformed> {
        let mut ready = Vec::new();
        if let Change::Insert { relation, new } = &change {
            let values = self.row(*relation, new)?;
            match &mut self.insert {
                Some(open) if open.relation == *relation && open.rows < ROWS_TOGETHER => {
                    open.sql += &format!(", {values}");
                    open.rows += 1;
                }
                _ => {
                    ready.extend(self.finish());
                    let sql = self.insert_into(*relation)? + &values;
                    self.insert = Some(Insert { relation: *relation, sql, rows: 1 });
                }
            }
            return Ok(ready);
        }
        ready.extend(self.finish());
        match change {
            Change::Relation(relation) => {
                self.relations.insert(relation.id, relation);
            }
            Change::Update { relation, old, new } => ready.extend(self.update(relation, old, new)?),
            Change::Delete { relation, old } => {
                let relation = self.relation(relation)?;
                let sql =
                    format!("DELETE FROM {} WHERE {}", name(relation), which(relation, &old)?);
                ready.push(Statement { sql, rows: Some(1) });
            }
            Change::Truncate { relations } => {
                for relation in relations {
                    let sql = format!("TRUNCATE {}", name(self.relation(relation)?));
                    ready.push(Statement { sql, rows: None });
                }
            }
            _ => {}
        }
        Ok(ready)
    }

    /// The statement that would have taken more rows.
    pub fn finish(&mut self) -> Option<Statement> {
        self.insert.take().map(|insert| Statement { sql: insert.sql, rows: Some(insert.rows) })
    }

    fn relation(&self, id: u32) -> Result<&Relation, Malformed> {
        self.relations.get(&id).ok_or(Malformed)
    }

    fn insert_into(&self, id: u32) -> Result<String, Malformed> {
        let relation = self.relation(id)?;
        let columns: Vec<_> = relation.columns.iter().map(|c| quote_identifier(&c.name)).collect();
        Ok(format!("INSERT INTO {} ({}) VALUES ", name(relation), columns.join(", ")))
    }

    fn row(&self, id: u32, tuple: &Tuple) -> Result<String, Malformed> {
        if self.relation(id)?.columns.len() != tuple.values.len() {
            return Err(Malformed);
        }
        let values = tuple.values.iter().map(literal).collect::<Result<Vec<_>, _>>()?;
        Ok(format!("({})", values.join(", ")))
    }

    fn update(
        &self,
        id: u32,
        old: Option<Tuple>,
        new: Tuple,
    ) -> Result<Option<Statement>, Malformed> {
        let relation = self.relation(id)?;
        let mut assignments = Vec::new();
        for (column, value) in columns(relation, &new)? {
            if *value != Value::Unchanged {
                assignments.push(format!(
                    "{} = {}",
                    quote_identifier(&column.name),
                    literal(value)?
                ));
            }
        }
        if assignments.is_empty() {
            return Ok(None);
        }
        let which = which(relation, &old.unwrap_or(Tuple { is_key: true, ..new }))?;
        let sql = format!("UPDATE {} SET {} WHERE {which}", name(relation), assignments.join(", "));
        Ok(Some(Statement { sql, rows: Some(1) }))
    }
}

fn name(relation: &Relation) -> String {
    format!("{MOVING_SCHEMA}.{}", quote_identifier(&relation.name))
}

fn columns<'a>(
    relation: &'a Relation,
    tuple: &'a Tuple,
) -> Result<impl Iterator<Item = (&'a Column, &'a Value)>, Malformed> {
    if relation.columns.len() != tuple.values.len() {
        return Err(Malformed);
    }
    Ok(relation.columns.iter().zip(&tuple.values))
}

/// The condition that finds one row: by its key, or the first of those that look
/// the same.
fn which(relation: &Relation, tuple: &Tuple) -> Result<String, Malformed> {
    let mut conditions = Vec::new();
    for (column, value) in columns(relation, tuple)? {
        if !column.is_key || *value == Value::Unchanged {
            continue;
        }
        let quoted = quote_identifier(&column.name);
        let value = match value {
            Value::Null => {
                conditions.push(format!("{quoted} IS NULL"));
                continue;
            }
            value => literal(value)?,
        };
        if !relation.is_full || PLAINLY_EQUAL.contains(&column.type_oid) {
            conditions.push(format!("{quoted} = {value}"));
        }
        if relation.is_full {
            // Not a cast to text, which prints some types in another way.
            conditions.push(format!(
                "pg_catalog.format('%s', {quoted}) COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) {value}"
            ));
        }
    }
    if conditions.is_empty() {
        return Err(Malformed);
    }
    let conditions = conditions.join(" AND ");
    if relation.is_full {
        let name = name(relation);
        return Ok(format!("ctid = (SELECT ctid FROM {name} WHERE {conditions} LIMIT 1)"));
    }
    Ok(conditions)
}

fn literal(value: &Value) -> Result<String, Malformed> {
    match value {
        Value::Null => Ok("NULL".into()),
        Value::Unchanged => Err(Malformed),
        Value::Text(text) if text.contains('\\') => {
            Ok(format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")))
        }
        Value::Text(text) => Ok(format!("'{}'", text.replace('\'', "''"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(is_full: bool) -> Change {
        let column = |name: &str, is_key, type_oid| Column { name: name.into(), is_key, type_oid };
        let columns = vec![column("id", true, 20), column("It's", is_full, 114)];
        Change::Relation(Relation { id: 1, name: "Shard".into(), is_full, columns })
    }

    fn tuple(values: [Option<&str>; 2], is_key: bool) -> Tuple {
        let value = |value: Option<&str>| match value {
            None => Value::Null,
            Some("…") => Value::Unchanged,
            Some(text) => Value::Text(text.into()),
        };
        Tuple { values: values.map(value).to_vec(), is_key }
    }

    fn sql(is_full: bool, changes: Vec<Change>) -> Vec<(String, Option<u64>)> {
        let mut converter = ChangesAsSql::default();
        converter.take(relation(is_full)).unwrap();
        let mut statements = Vec::new();
        for change in changes {
            statements.extend(converter.take(change).unwrap());
        }
        statements.extend(converter.finish());
        statements.into_iter().map(|statement| (statement.sql, statement.rows)).collect()
    }

    #[test]
    fn rows_inserted_one_after_the_other_go_together() {
        let insert = |id| Change::Insert { relation: 1, new: tuple([Some(id), None], false) };
        let statements = sql(false, vec![insert("1"), insert("2")]);
        let expected = "INSERT INTO shardman_moving.\"Shard\" (\"id\", \"It's\") VALUES ('1', NULL), ('2', NULL)";
        assert_eq!(statements, [(expected.into(), Some(2))]);
    }

    #[test]
    fn a_row_is_found_by_its_old_key_and_long_values_that_stay_are_left_alone() {
        let old = Some(tuple([Some("1"), None], true));
        let new = tuple([Some("2"), Some("…")], false);
        let statements = sql(false, vec![Change::Update { relation: 1, old, new }]);
        let expected = "UPDATE shardman_moving.\"Shard\" SET \"id\" = '2' WHERE \"id\" = '1'";
        assert_eq!(statements, [(expected.into(), Some(1))]);
    }

    #[test]
    fn without_a_key_one_row_that_looks_the_same_goes() {
        let old = tuple([Some("1"), Some(r"a\'b")], false);
        let statements = sql(true, vec![Change::Delete { relation: 1, old }]);
        let expected = "DELETE FROM shardman_moving.\"Shard\" WHERE ctid = (SELECT ctid FROM shardman_moving.\"Shard\" \
             WHERE \"id\" = '1' \
             AND pg_catalog.format('%s', \"id\") COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) '1' \
             AND pg_catalog.format('%s', \"It's\") COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) E'a\\\\''b' LIMIT 1)";
        assert_eq!(statements, [(expected.into(), Some(1))]);
    }

    #[test]
    fn an_insert_comes_before_what_follows_it() {
        let insert = Change::Insert { relation: 1, new: tuple([Some("1"), None], false) };
        let truncate = Change::Truncate { relations: vec![1] };
        let statements = sql(false, vec![insert, truncate]);
        assert!(statements[0].0.starts_with("INSERT"), "{statements:?}");
        assert_eq!(statements[1], ("TRUNCATE shardman_moving.\"Shard\"".into(), None));
    }

    #[test]
    fn a_relation_that_is_told_in_between_loses_no_row() {
        let insert = Change::Insert { relation: 1, new: tuple([Some("1"), None], false) };
        let statements = sql(false, vec![insert, relation(false)]);
        assert_eq!(statements.len(), 1);
    }

    #[test]
    fn changes_of_an_unknown_relation_are_malformed() {
        let delete = Change::Delete { relation: 2, old: tuple([Some("1"), None], true) };
        assert_eq!(ChangesAsSql::default().take(delete), Err(Malformed));
    }
}
