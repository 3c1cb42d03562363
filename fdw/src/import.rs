//! IMPORT FOREIGN SCHEMA: one CREATE FOREIGN TABLE for each table, view, foreign
//! table or materialised view of a schema on a user's own server.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr::null_mut;
use std::rc::Rc;

use pgrx::pg_sys;
use pgrx::pg_sys::ImportForeignSchemaType;

use crate::backend::{bytes_of, cells, quote_identifier, quote_literal_bytes, text_of};
use crate::error::{Error, Refusal, SqlState, callback};
use crate::options::{Carrier, parse_bool, spec};
use crate::placement::Placement;
use crate::session::{self, Request, Slot, Statement};
use crate::transport::fields;

/// What the definitions keep of the remote ones.
struct Wanted {
    collations: bool,
    defaults: bool,
    generated: bool,
    not_null: bool,
}

/// A plain-old frame.
pub unsafe extern "C-unwind" fn import_schema(
    statement: *mut pg_sys::ImportForeignSchemaStmt,
    server: pg_sys::Oid,
) -> *mut pg_sys::List {
    // SAFETY: called by PostgreSQL with a valid statement; no destructor here.
    unsafe { callback(|| commands(statement, server)) }
}

unsafe fn commands(
    statement: *const pg_sys::ImportForeignSchemaStmt,
    server: pg_sys::Oid,
) -> Result<*mut pg_sys::List, Error> {
    // SAFETY: the caller's statement; guarded.
    unsafe {
        let wanted = wanted((*statement).options)?;
        let schema = bytes_of((*statement).remote_schema);
        let slot = session::acquire(Placement::Server(server).target(pg_sys::GetUserId()))?;
        let name = text_of((*pg_sys::GetForeignServer(server)).servername);
        let mut exists = b"SELECT FROM pg_catalog.pg_namespace WHERE nspname = ".to_vec();
        exists.extend(quote_literal_bytes(&schema));
        if query(&slot, exists)?.is_empty() {
            let schema = String::from_utf8_lossy(&schema).into_owned();
            return Err(Refusal::new(
                SqlState::FDW_SCHEMA_NOT_FOUND,
                format!("schema \"{schema}\" is not present on foreign server \"{name}\""),
            )
            .into());
        }
        let mut commands = null_mut();
        for row in query(&slot, definitions(statement, &schema, &wanted))? {
            let [Some(table), columns] = row.as_slice() else { continue };
            let mut sql = b"CREATE FOREIGN TABLE ".to_vec();
            sql.extend(quote_identifier(table));
            sql.extend(b" (");
            sql.extend(columns.as_deref().unwrap_or_default());
            sql.extend(b") SERVER ");
            sql.extend(quote_identifier(name.as_bytes()));
            sql.extend(b" OPTIONS (schema_name ");
            sql.extend(quote_literal_bytes(&schema));
            sql.extend(b", table_name ");
            sql.extend(quote_literal_bytes(table));
            sql.extend(b")");
            let sql = CString::new(sql).unwrap_or_default();
            commands = pg_sys::lappend(commands, pg_sys::pstrdup(sql.as_ptr()).cast());
        }
        Ok(commands)
    }
}

unsafe fn wanted(options: *mut pg_sys::List) -> Result<Wanted, Error> {
    let mut wanted = Wanted { collations: true, defaults: false, generated: true, not_null: true };
    // SAFETY: DefElems, by the grammar; guarded.
    unsafe {
        for option in cells::<pg_sys::DefElem>(options) {
            let name = text_of((*option).defname);
            spec(&name, Some(Carrier::Import))?;
            let value = if (*option).arg.is_null() {
                Some(true)
            } else {
                parse_bool(&text_of(pg_sys::defGetString(option)))
            };
            let Some(value) = value else {
                return Err(Refusal::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("invalid value for option \"{name}\""),
                )
                .with_detail("It takes a Boolean value.")
                .into());
            };
            match name.as_str() {
                "import_collate" => wanted.collations = value,
                "import_default" => wanted.defaults = value,
                "import_generated" => wanted.generated = value,
                _ => wanted.not_null = value,
            }
        }
    }
    Ok(wanted)
}

/// A query for table names and the text of their columns. Identifiers are always
/// quoted: what has to be is for this server to say.
unsafe fn definitions(
    statement: *const pg_sys::ImportForeignSchemaStmt,
    schema: &[u8],
    wanted: &Wanted,
) -> Vec<u8> {
    let quoted = |name: &str| format!("'\"' || replace({name}, '\"', '\"\"') || '\"'");
    let mut column = format!(
        "{} || ' ' || format_type(a.atttypid, a.atttypmod) || ' OPTIONS (column_name ' || quote_literal(a.attname) || ')'",
        quoted("a.attname")
    );
    if wanted.collations {
        column.push_str(&format!(
            " || coalesce(' COLLATE ' || {} || '.' || {}, '')",
            quoted("cn.nspname"),
            quoted("co.collname")
        ));
    }
    let default = "pg_get_expr(d.adbin, d.adrelid)";
    if wanted.defaults {
        column.push_str(&format!(
            " || CASE WHEN a.attgenerated = '' THEN coalesce(' DEFAULT ' || {default}, '') ELSE '' END"
        ));
    }
    if wanted.generated {
        column.push_str(&format!(
            " || CASE WHEN a.attgenerated = 's' THEN ' GENERATED ALWAYS AS (' || {default} || ') STORED' ELSE '' END"
        ));
    }
    if wanted.not_null {
        column.push_str(" || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END");
    }
    let mut sql = format!(
        "SELECT c.relname, string_agg({column}, ', ' ORDER BY a.attnum) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
         LEFT JOIN pg_collation co ON co.oid = a.attcollation \
         LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace \
         WHERE c.relkind IN ('r', 'v', 'f', 'm', 'p') AND n.nspname = "
    )
    .into_bytes();
    sql.extend(quote_literal_bytes(schema));
    // SAFETY: the caller's statement, whose list holds RangeVars.
    let (kind, names) = unsafe {
        let names: Vec<Vec<u8>> = cells::<pg_sys::RangeVar>((*statement).table_list)
            .map(|table| quote_literal_bytes(&bytes_of((*table).relname)))
            .collect();
        ((*statement).list_type, names.join(&b", "[..]))
    };
    // Partitions come with their table, unless somebody asks for them by name.
    let (word, ends): (&[u8], bool) = match kind {
        ImportForeignSchemaType::FDW_IMPORT_SCHEMA_LIMIT_TO => (b" AND c.relname IN (", true),
        ImportForeignSchemaType::FDW_IMPORT_SCHEMA_EXCEPT => {
            (b" AND NOT c.relispartition AND c.relname NOT IN (", true)
        }
        _ => (b" AND NOT c.relispartition", false),
    };
    sql.extend(word);
    if ends {
        sql.extend(names);
        sql.extend(b")");
    }
    sql.extend(b" GROUP BY c.oid, c.relname ORDER BY c.relname");
    sql
}

type Row = Vec<Option<Vec<u8>>>;

fn query(slot: &Rc<Slot>, sql: Vec<u8>) -> Result<Vec<Row>, Error> {
    let statement = Statement {
        sql: sql.into(),
        types: Rc::new([]),
        parameter_formats: Rc::new([]),
        result_formats: Rc::new([]),
        is_kept: false,
    };
    let request = Request { statement: &statement, parameters: &[], portal: "", max_rows: 0 };
    let ticket = slot.send(&request)?;
    let reply = session::collect(slot, ticket, &statement)?;
    let mut rows = Vec::new();
    let mut position = 0;
    while let Some(body) = reply.rows.next_row(&mut position) {
        rows.push(fields(body).map(|field| field.map(<[u8]>::to_vec)).collect());
    }
    Ok(rows)
}
