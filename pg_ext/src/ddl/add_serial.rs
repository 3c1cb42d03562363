//! `ALTER TABLE … ADD COLUMN … serial` of a sharded table.
//!
//! PostgreSQL would make a sequence on each node and number the rows that are
//! there by it, the same numbers on every node. So the sequence is made first,
//! managed, on all nodes, and the statement is carried with what serial means
//! written out.
#![allow(unsafe_code)]

use std::ffi::CString;

use cluster::ddl::{CarriedStatement, ForeignLeaves};
use cluster::sharding::{NodeCommand, quote_identifier};
use pgrx::prelude::*;
use pgrx::spi::quote_literal;

use super::OwnWork;
use crate::catalog::{qualified_name, register_new};
use crate::lists::{elements, text};
use crate::peers;
use crate::report::Report;

/// A statement with its serial columns written out.
pub struct AddedSerials {
    /// As text, one statement.
    pub text: String,
    /// Parsed.
    pub statement: *mut pg_sys::Node,
    /// `ALTER SEQUENCE … OWNED BY …` of each.
    owned_by: Vec<String>,
}

/// A column that is added: where its type stands in the text, and what goes
/// there.
struct Replaced {
    at: usize,
    length: usize,
    with: String,
}

/// Writes serial columns out and makes their sequences on all nodes. `start` is
/// where `text` begins in the string that the statement was parsed from.
///
/// # Safety
/// `statement` is a valid AlterTableStmt about the sharded table `rel`.
pub unsafe fn write_out(
    statement: *mut pg_sys::AlterTableStmt,
    rel: pg_sys::Oid,
    text: &str,
    start: usize,
) -> Result<Option<AddedSerials>, Report> {
    let (mut replaced, mut owned_by) = (Vec::new(), Vec::new());
    // SAFETY: the grammar's node types.
    unsafe {
        for command in elements::<pg_sys::AlterTableCmd>((*statement).cmds) {
            if (*command).subtype != pg_sys::AlterTableType::AT_AddColumn {
                continue;
            }
            let column: *mut pg_sys::ColumnDef = (*command).def.cast();
            let name = self::text((*column).colname);
            let Some(type_name) = serial_type((*column).typeName) else { continue };
            if (*command).missing_ok && has_column(rel, &name) {
                continue;
            }
            let at = usize::try_from((*(*column).typeName).location).unwrap_or(0);
            let at = at.saturating_sub(start);
            let sequence = make_sequence(rel, &name, type_name)?;
            let default = quote_literal(&sequence);
            replaced.push(Replaced {
                at,
                length: word_length(&text[at.min(text.len())..]),
                with: format!(
                    "{type_name} NOT NULL DEFAULT nextval({default}::pg_catalog.regclass)"
                ),
            });
            let column = quote_identifier(&name);
            owned_by.push(format!(
                "ALTER SEQUENCE {sequence} OWNED BY {}.{column}",
                qualified_name(rel)
            ));
        }
    }
    if replaced.is_empty() {
        return Ok(None);
    }
    let mut written = text.to_owned();
    replaced.sort_by_key(|r| std::cmp::Reverse(r.at));
    for Replaced { at, length, with } in replaced {
        written.replace_range(at..at + length, &with);
    }
    // SAFETY: the parser's own result: one statement, since one was written.
    let statement = unsafe { parse(&written)? };
    Ok(Some(AddedSerials { text: written, statement, owned_by }))
}

impl AddedSerials {
    /// Gives the sequences to their columns, on all nodes.
    pub fn finish(&self) -> Result<(), Report> {
        for statement in &self.owned_by {
            {
                let _own_work = OwnWork::begin();
                Spi::run(statement)?;
            }
            peers::tell_all(&NodeCommand::Carry(CarriedStatement {
                statement: statement.clone(),
                settings: Vec::new(),
                table: None,
                foreign_leaves: ForeignLeaves::Reach,
                is_schema_change: true,
                needs_every_node: false,
                new_constraints: Vec::new(),
            }))?;
        }
        Ok(())
    }
}

/// Whether a column is of a serial type.
///
/// # Safety
/// `column` is a valid ColumnDef.
pub unsafe fn is_serial(column: *mut pg_sys::ColumnDef) -> bool {
    // SAFETY: the caller's.
    unsafe { serial_type((*column).typeName).is_some() }
}

/// The integer type behind a serial one.
unsafe fn serial_type(type_name: *mut pg_sys::TypeName) -> Option<&'static str> {
    // SAFETY: the caller's valid node, or null.
    unsafe {
        let names: Vec<String> = elements::<pg_sys::String>(type_name.as_ref()?.names)
            .map(|n| text((*n).sval))
            .collect();
        match names.as_slice() {
            [name] => match name.as_str() {
                "smallserial" | "serial2" => Some("pg_catalog.int2"),
                "serial" | "serial4" => Some("pg_catalog.int4"),
                "bigserial" | "serial8" => Some("pg_catalog.int8"),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The type's name as it was written: a word, possibly quoted.
fn word_length(text: &str) -> usize {
    let quoted = text.strip_prefix('"').and_then(|rest| rest.find('"')).map(|end| end + 2);
    let is_part = |c: char| c.is_ascii_alphanumeric();
    quoted.unwrap_or_else(|| text.find(|c| !is_part(c)).unwrap_or(text.len()))
}

fn has_column(rel: pg_sys::Oid, name: &str) -> bool {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: a syscache look-up by a NUL-terminated name.
    unsafe { pg_sys::get_attnum(rel, name.as_ptr()) != 0 }
}

fn make_sequence(rel: pg_sys::Oid, column: &str, type_name: &str) -> Result<String, Report> {
    let column = CString::new(column).unwrap_or_default();
    // SAFETY: syscache look-ups; palloc'd names.
    let name = unsafe {
        let namespace = pg_sys::get_rel_namespace(rel);
        let table = pg_sys::get_rel_name(rel);
        let label = c"seq".as_ptr();
        let chosen = pg_sys::ChooseRelationName(table, column.as_ptr(), label, namespace, false);
        let schema = text(pg_sys::get_namespace_name(namespace));
        format!("{}.{}", quote_identifier(&schema), quote_identifier(&text(chosen)))
    };
    {
        let _own_work = OwnWork::begin();
        Spi::run(&format!("CREATE SEQUENCE {name} AS {type_name}"))?;
    }
    let sequence = Spi::get_one_with_args::<pg_sys::Oid>(
        "SELECT $1::pg_catalog.regclass::pg_catalog.oid",
        &[name.clone().into()],
    )?;
    if let Some(definition) = register_new(sequence.unwrap_or(pg_sys::InvalidOid))? {
        peers::tell_all(&NodeCommand::CreateSequence(definition))?;
    }
    Ok(name)
}

unsafe fn parse(text: &str) -> Result<*mut pg_sys::Node, Report> {
    let text = CString::new(text).unwrap_or_default();
    // SAFETY: guarded; a list of RawStmt.
    unsafe {
        let parsed = pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        let first = elements::<pg_sys::RawStmt>(parsed).next();
        first.map(|raw| (*raw).stmt).ok_or_else(|| {
            Report::new(
                PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
                "could not write out serial columns",
            )
        })
    }
}
