//! Errors of workers, as values and as what the log keeps of them.

use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;

use crate::report::Report;

/// Before the five characters of an SQLSTATE, at the end of a message.
const CODE: &str = " (SQLSTATE ";

/// A raised error as a value.
pub fn caught(error: CaughtError) -> Report {
    let (CaughtError::PostgresError(raised)
    | CaughtError::ErrorReport(raised)
    | CaughtError::RustPanic { ereport: raised, .. }) = error;
    let mut report = Report::new(raised.sql_error_code(), raised.message());
    if let Some(detail) = raised.detail() {
        report = report.detail(detail);
    }
    if let Some(hint) = raised.hint() {
        report = report.hint(hint);
    }
    report
}

/// One line for the log.
pub fn line(report: &Report) -> String {
    let detail = report.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
    let code = fdw::SqlState::from_packed(report.code as i32);
    let code = code.as_str();
    format!("{}{detail}{CODE}{code})", report.message)
}

/// The inverse, as far as the log keeps it.
pub fn from_line(line: &str) -> (PgSqlErrorCode, String) {
    let unknown = PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
    let Some((message, rest)) = line.rsplit_once(CODE) else { return (unknown, line.to_owned()) };
    let code = fdw::SqlState::parse(rest.trim_end_matches(')'));
    let code = code.map_or(unknown, |code| PgSqlErrorCode::from(code.packed()));
    (code, message.to_owned())
}

/// Whether trying again later may help: a node or the leader is away, or
/// somebody was in the way.
pub fn is_passing(report: &Report) -> bool {
    use PgSqlErrorCode::*;
    matches!(
        report.code,
        ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION
            | ERRCODE_CONNECTION_EXCEPTION
            | ERRCODE_CONNECTION_FAILURE
            | ERRCODE_CONNECTION_DOES_NOT_EXIST
            | ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN
            | ERRCODE_CANNOT_CONNECT_NOW
            | ERRCODE_ADMIN_SHUTDOWN
            | ERRCODE_CRASH_SHUTDOWN
            | ERRCODE_T_R_SERIALIZATION_FAILURE
            | ERRCODE_T_R_DEADLOCK_DETECTED
            | ERRCODE_LOCK_NOT_AVAILABLE
            | ERRCODE_TOO_MANY_CONNECTIONS
    )
}
