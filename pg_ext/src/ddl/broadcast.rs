//! `shardman.broadcast_all_sql`, `broadcast_sql` and `broadcast_query`: a text
//! that runs on every node, as the user who asks and in the user's transaction.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::CString;
use std::ptr::null_mut;

use cluster::sharding::NodeCommand;
use pgrx::prelude::*;

use super::meaning::{current_settings, set};
use crate::catalog::registry;
use crate::lists::text;
use crate::membership::my_identity;
use crate::node_session::is_node_session;
use crate::peers;
use crate::report::{OrRaise, Report};

thread_local! {
    static GOING_ON: Cell<bool> = const { Cell::new(false) };
}

/// While alive, this node runs its part of a broadcast: DDL in it is carried
/// nowhere, since every node runs the same.
struct Broadcasting(());

impl Broadcasting {
    fn begin() -> Result<Self, Report> {
        if is_node_session() || GOING_ON.replace(true) {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "Command execution must be initiated by coordinator",
            )
            .detail("The statement is itself part of a broadcast."));
        }
        Ok(Broadcasting(()))
    }
}

impl Drop for Broadcasting {
    fn drop(&mut self) {
        GOING_ON.set(false);
    }
}

/// Whether this node runs its part of a broadcast.
pub fn is_broadcasting() -> bool {
    GOING_ON.get()
}

#[pg_extern(sql = false)]
fn broadcast_all_sql(statement: &str) {
    run_everywhere(statement, true).or_raise()
}

#[pg_extern(sql = false)]
fn broadcast_sql(statement: &str) {
    run_everywhere(statement, false).or_raise()
}

fn run_everywhere(statement: &str, also_here: bool) -> Result<(), Report> {
    let _broadcasting = Broadcasting::begin()?;
    my_identity()?;
    if also_here {
        Spi::run(statement)?;
    }
    let settings = current_settings();
    peers::tell_all(&NodeCommand::Run { statement: statement.to_owned(), settings })
}

/// The same on a node that is told so: below the top level, so that nothing is
/// trusted that the user could not do in a session of this node.
pub fn apply(statement: &str, settings: &[(String, String)]) -> Result<(), Report> {
    // SAFETY: a nest level that is left below; an abort leaves it too.
    let level = unsafe { pg_sys::NewGUCNestLevel() };
    settings.iter().try_for_each(|(name, value)| set(name, value))?;
    GOING_ON.set(true);
    let broadcasting = Broadcasting(());
    Spi::run(statement)?;
    drop(broadcasting);
    // SAFETY: the level of above.
    unsafe { pg_sys::AtEOXact_GUC(true, level) };
    Ok(())
}

/// The rows of a statement, each as a JSON array of texts and nulls.
#[pg_extern(sql = false)]
fn query_rows(statement: &str) -> SetOfIterator<'static, String> {
    let rows = rows_here(statement).or_raise();
    let texts: Vec<_> =
        rows.iter().map(|row| serde_json::to_string(row).unwrap_or_default()).collect();
    SetOfIterator::new(texts)
}

type Row = Vec<Option<String>>;

fn rows_here(statement: &str) -> Result<Vec<Row>, Report> {
    let query = CString::new(statement).map_err(|_| {
        Report::new(PgSqlErrorCode::ERRCODE_SYNTAX_ERROR, "the statement contains a zero byte")
    })?;
    // SAFETY: guarded calls; the table and its descriptor live until SPI_finish,
    // values are copied before.
    unsafe {
        pg_sys::SPI_connect();
        let code = pg_sys::SPI_execute(query.as_ptr(), false, 0);
        let mut rows = Vec::new();
        if code > 0 && !pg_sys::SPI_tuptable.is_null() {
            let table = &*pg_sys::SPI_tuptable;
            let columns = (*table.tupdesc).natts;
            for at in 0..table.numvals as usize {
                let tuple = *table.vals.add(at);
                let value = |column| {
                    let value = pg_sys::SPI_getvalue(tuple, table.tupdesc, column);
                    (!value.is_null()).then(|| text(value))
                };
                rows.push((1..=columns).map(value).collect());
            }
        }
        pg_sys::SPI_finish();
        if code < 0 {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "cannot run this statement on every node",
            )
            .hint("Transaction control and COPY are not possible here."));
        }
        Ok(rows)
    }
}

#[allow(missing_docs)]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_finfo_broadcast_query_wrapper() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// `shardman.broadcast_query(statement, include_rgid)`: no Rust type stands for
/// rows whose columns the caller names.
#[allow(missing_docs)]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn broadcast_query_wrapper(
    call: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: PostgreSQL calls it as a function of (text, boolean), strict; no
    // destructor is live here.
    unsafe { fdw::callback(|| Ok(broadcast_query(call)?)) }
}

unsafe fn broadcast_query(call: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum, Report> {
    // SAFETY: the caller's; a strict function's arguments are not null, and the
    // result info is set up by InitMaterializedSRF.
    unsafe {
        let arguments = (*call).args.as_slice(2);
        let statement = String::from_datum(arguments[0].value, false).unwrap_or_default();
        let include_node = bool::from_datum(arguments[1].value, false).unwrap_or_default();
        pg_sys::InitMaterializedSRF(call, pg_sys::MAT_SRF_USE_EXPECTED_DESC);
        let result: *mut pg_sys::ReturnSetInfo = (*call).resultinfo.cast();
        let descriptor = (*result).setDesc;
        let wanted = (*descriptor).natts as usize;
        let input = pg_sys::TupleDescGetAttInMetadata(descriptor);
        for row in rows_everywhere(&statement, include_node)? {
            if row.len() != wanted {
                return Err(Report::new(
                    PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                    "the column definition list does not fit the rows of the query",
                )
                .detail(format!("It names {wanted} columns; the rows have {}.", row.len())));
            }
            let texts: Vec<_> = row
                .into_iter()
                .map(|value| value.map(|value| CString::new(value).unwrap_or_default()))
                .collect();
            let mut pointers: Vec<_> = texts
                .iter()
                .map(|text| text.as_ref().map_or(null_mut(), |t| t.as_ptr().cast_mut()))
                .collect();
            let tuple = pg_sys::BuildTupleFromCStrings(input, pointers.as_mut_ptr());
            pg_sys::tuplestore_puttuple((*result).setResult, tuple);
        }
        (*call).isnull = true;
        Ok(pg_sys::Datum::from(0))
    }
}

fn rows_everywhere(statement: &str, include_node: bool) -> Result<Vec<Row>, Report> {
    let _broadcasting = Broadcasting::begin()?;
    let me = my_identity()?.node_id;
    let registry = registry()?;
    let mut all = Vec::new();
    for member in registry.members().iter().filter(|member| member.is_active) {
        let rows = if member.id == me {
            rows_here(statement)?
        } else {
            let remote = fdw::session::for_node(member.id)?;
            remote.mark_writer()?;
            let sql = "SELECT shardman.query_rows($1)";
            let rows = remote.query(sql, &[Some(statement)])?;
            let rows = rows.into_iter().filter_map(|row| row.into_iter().next().flatten());
            rows.map(|row| serde_json::from_str::<Row>(&row).map_err(unreadable))
                .collect::<Result<Vec<_>, _>>()?
        };
        let node = include_node.then(|| Some(member.id.to_string()));
        all.extend(rows.into_iter().map(|row| node.iter().cloned().chain(row).collect::<Row>()));
    }
    Ok(all)
}

fn unreadable(error: serde_json::Error) -> Report {
    Report::new(PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION, "could not read rows of another node")
        .detail(error.to_string())
}
