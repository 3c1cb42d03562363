//! The fields of an `ereport`, owned by Rust.

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};

use super::{Error, RemoteError, SqlState};

/// Everything PostgreSQL shows of an error, as bytes in the database encoding.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub(super) level: i32,
    pub(super) sqlstate: i32,
    pub(super) message: Vec<u8>,
    pub(super) detail: Option<Vec<u8>>,
    pub(super) hint: Option<Vec<u8>>,
    pub(super) context: Option<Vec<u8>>,
    pub(super) schema: Option<Vec<u8>>,
    pub(super) table: Option<Vec<u8>>,
    pub(super) column: Option<Vec<u8>>,
    pub(super) datatype: Option<Vec<u8>>,
    pub(super) constraint: Option<Vec<u8>>,
}

const ERROR: i32 = pgrx::pg_sys::PGERROR as i32;

impl Report {
    /// PostgreSQL's packed SQLSTATE.
    pub fn packed_sqlstate(&self) -> i32 {
        self.sqlstate
    }

    /// The primary message.
    pub fn message(&self) -> String {
        text(&self.message)
    }

    /// Facts, if there are any.
    pub fn detail(&self) -> Option<String> {
        self.detail.as_deref().map(text)
    }

    /// Advice, if there is any.
    pub fn hint(&self) -> Option<String> {
        self.hint.as_deref().map(text)
    }

    /// An ERROR with a message of our own.
    pub fn error(sqlstate: SqlState, message: impl Into<Vec<u8>>) -> Report {
        Report {
            level: ERROR,
            sqlstate: sqlstate.packed(),
            message: message.into(),
            ..Report::default()
        }
    }

    /// A WARNING with a message of our own.
    pub fn warning(sqlstate: SqlState, message: impl Into<Vec<u8>>) -> Report {
        Report { level: pgrx::pg_sys::WARNING as i32, ..Report::error(sqlstate, message) }
    }

    /// The same with a detail.
    pub fn with_detail(mut self, detail: impl Into<Vec<u8>>) -> Report {
        self.detail = Some(detail.into());
        self
    }

    /// The same with a hint.
    pub fn with_hint(mut self, hint: impl Into<Vec<u8>>) -> Report {
        self.hint = Some(hint.into());
        self
    }

    /// The same, shown as a WARNING: what remains of an error where nothing
    /// may raise.
    pub fn as_warning(mut self) -> Report {
        self.level = pgrx::pg_sys::WARNING as i32;
        self
    }

    /// A remote NOTICE or WARNING, to be shown at the level it had there.
    pub fn notice(node: &str, notice: RemoteError) -> Report {
        let level = match notice.severity.as_str() {
            "WARNING" => pgrx::pg_sys::WARNING,
            "NOTICE" => pgrx::pg_sys::NOTICE,
            "INFO" => pgrx::pg_sys::INFO,
            "LOG" => pgrx::pg_sys::LOG,
            _ => pgrx::pg_sys::DEBUG1,
        };
        let default = SqlState::parse("00000").map_or(0, SqlState::packed);
        let where_ = format!("remote message of node \"{node}\"");
        Report { level: level as i32, ..Report::of_remote(notice, default, &where_) }
    }

    fn of_remote(error: RemoteError, default_sqlstate: i32, where_: &str) -> Report {
        let context = match error.context {
            Some(mut inner) => {
                inner.push(b'\n');
                inner.extend_from_slice(where_.as_bytes());
                inner
            }
            None => where_.as_bytes().to_vec(),
        };
        Report {
            level: ERROR,
            sqlstate: error.sqlstate.map_or(default_sqlstate, SqlState::packed),
            message: error.message,
            detail: error.detail,
            hint: error.hint,
            context: Some(context),
            schema: error.schema,
            table: error.table,
            column: error.column,
            datatype: error.datatype,
            constraint: error.constraint,
        }
    }
}

impl From<Error> for ErrorReport {
    /// For `#[pg_extern]` functions, which raise by panic: keeps SQLSTATE,
    /// message, detail and hint. Plain-old frames with
    /// [`callback`](super::callback) keep everything.
    fn from(error: Error) -> ErrorReport {
        let report = Report::from(error);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let sqlstate = PgSqlErrorCode::from(report.sqlstate);
        let mut ereport = ErrorReport::new(sqlstate, text(report.message), "shardman");
        let context = report.context.map(text);
        let detail = match (report.detail.map(text), context) {
            (Some(detail), Some(context)) => Some(format!("{detail}\n{context}")),
            (detail, context) => detail.or(context),
        };
        if let Some(detail) = detail {
            ereport = ereport.set_detail(detail);
        }
        if let Some(hint) = report.hint.map(text) {
            ereport = ereport.set_hint(hint);
        }
        ereport
    }
}

impl From<Error> for Report {
    fn from(error: Error) -> Report {
        match error {
            Error::Refused(refusal) => Report {
                detail: refusal.detail.map(String::into_bytes),
                hint: refusal.hint.map(String::into_bytes),
                ..Report::error(refusal.sqlstate, refusal.message)
            },
            Error::Remote { node, command, error } => Report::of_remote(
                *error,
                SqlState::INTERNAL.packed(),
                &format!("remote command on node \"{node}\": {command}"),
            ),
            Error::CouldNotConnect { node, reason, error } => {
                let message = format!("could not connect to node \"{node}\"");
                let mut report = Report::error(SqlState::UNABLE_TO_ESTABLISH_CONNECTION, message);
                match error {
                    Some(error) => {
                        report.detail = Some(error.message);
                        report.hint = error.hint;
                    }
                    None => report.detail = Some(reason.into_bytes()),
                }
                report
            }
            Error::ConnectionLost { node, reason } => Report::error(
                SqlState::CONNECTION_FAILURE,
                format!("connection to node \"{node}\" was lost"),
            )
            .with_detail(reason),
            Error::OutcomeUnknown { node, reason } => Report::error(
                SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
                format!("outcome of the transaction on node \"{node}\" is unknown"),
            )
            .with_detail(reason)
            .with_hint("Look on that node whether the transaction's effects are there before repeating it."),
        }
    }
}

impl From<CaughtError> for Report {
    fn from(caught: CaughtError) -> Report {
        let ereport = match &caught {
            CaughtError::PostgresError(e) | CaughtError::ErrorReport(e) => e,
            CaughtError::RustPanic { ereport, .. } => ereport,
        };
        Report {
            level: (ereport.level() as i32).max(ERROR),
            sqlstate: ereport.sql_error_code() as i32,
            message: ereport.message().as_bytes().to_vec(),
            detail: ereport.detail().map(|d| d.as_bytes().to_vec()),
            hint: ereport.hint().map(|h| h.as_bytes().to_vec()),
            ..Report::default()
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
