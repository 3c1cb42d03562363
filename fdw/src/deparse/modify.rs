//! INSERT, UPDATE, DELETE by ctid, TRUNCATE: fixed shapes with parameters.

use super::conflict::{ALIAS, OnConflict};
use crate::backend::Attribute;
use crate::placement::RemoteRelation;

/// `INSERT … VALUES` of `rows` rows. Generated columns get DEFAULT and take no
/// parameter; `returning` holds names as SQL. The parameters of `conflict` come
/// first.
pub fn insert_statement(
    relation: &RemoteRelation,
    targets: &[Attribute],
    rows: usize,
    conflict: &OnConflict,
    returning: &[Vec<u8>],
) -> Vec<u8> {
    let mut sql = b"INSERT INTO ".to_vec();
    sql.extend(&relation.sql_name);
    if conflict.has_alias {
        sql.extend(b" AS ");
        sql.extend(ALIAS.to_bytes());
    }
    if targets.is_empty() {
        sql.extend(b" DEFAULT VALUES");
    } else {
        sql.extend(b" (");
        sql.extend(column_list(relation, targets));
        sql.extend(b") VALUES ");
        let mut parameter = conflict.parameters;
        for row in 0..rows {
            sql.extend(if row == 0 { &b"("[..] } else { &b", ("[..] });
            for (i, target) in targets.iter().enumerate() {
                if i > 0 {
                    sql.extend(b", ");
                }
                value(&mut sql, target, &mut parameter);
            }
            sql.push(b')');
        }
    }
    sql.extend(&conflict.clause);
    returning_clause(&mut sql, returning);
    sql
}

/// `COPY … FROM STDIN`. Generated columns are left out.
pub fn copy_statement(
    relation: &RemoteRelation,
    targets: &[Attribute],
    is_binary: bool,
) -> Vec<u8> {
    let given: Vec<Attribute> = targets.iter().filter(|a| !a.is_generated).cloned().collect();
    let mut sql = b"COPY ".to_vec();
    sql.extend(&relation.sql_name);
    sql.extend(b" (");
    sql.extend(column_list(relation, &given));
    sql.extend(b") FROM STDIN");
    if is_binary {
        sql.extend(b" (FORMAT binary)");
    }
    sql
}

/// `UPDATE … SET … WHERE ctid = $1`.
pub fn update_statement(
    relation: &RemoteRelation,
    targets: &[Attribute],
    returning: &[Vec<u8>],
) -> Vec<u8> {
    let mut sql = b"UPDATE ".to_vec();
    sql.extend(&relation.sql_name);
    sql.extend(b" SET ");
    let mut parameter = 1;
    for (i, target) in targets.iter().enumerate() {
        if i > 0 {
            sql.extend(b", ");
        }
        sql.extend(relation.column(target));
        sql.extend(b" = ");
        value(&mut sql, target, &mut parameter);
    }
    sql.extend(b" WHERE ctid = $1");
    returning_clause(&mut sql, returning);
    sql
}

/// `DELETE … WHERE ctid = $1`.
pub fn delete_statement(relation: &RemoteRelation, returning: &[Vec<u8>]) -> Vec<u8> {
    let mut sql = b"DELETE FROM ".to_vec();
    sql.extend(&relation.sql_name);
    sql.extend(b" WHERE ctid = $1");
    returning_clause(&mut sql, returning);
    sql
}

/// `TRUNCATE …` of relations of one node.
pub fn truncate_statement(
    relations: &[RemoteRelation],
    cascades: bool,
    restarts_sequences: bool,
) -> Vec<u8> {
    let names: Vec<&[u8]> = relations.iter().map(|r| r.sql_name.as_slice()).collect();
    let mut sql = b"TRUNCATE ".to_vec();
    sql.extend(names.join(&b", "[..]));
    sql.extend(if restarts_sequences { &b" RESTART IDENTITY"[..] } else { b" CONTINUE IDENTITY" });
    sql.extend(if cascades { &b" CASCADE"[..] } else { b" RESTRICT" });
    sql
}

fn value(sql: &mut Vec<u8>, target: &Attribute, parameter: &mut usize) {
    if target.is_generated {
        sql.extend(b"DEFAULT");
    } else {
        *parameter += 1;
        sql.push(b'$');
        sql.extend(parameter.to_string().bytes());
    }
}

fn column_list(relation: &RemoteRelation, columns: &[Attribute]) -> Vec<u8> {
    columns.iter().map(|c| relation.column(c)).collect::<Vec<_>>().join(&b", "[..])
}

fn returning_clause(sql: &mut Vec<u8>, returning: &[Vec<u8>]) {
    if !returning.is_empty() {
        sql.extend(b" RETURNING ");
        sql.extend(returning.join(&b", "[..]));
    }
}
