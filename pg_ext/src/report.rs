//! Errors as values until the border: a [`Report`] is what PostgreSQL's error
//! style guide asks for, and [`Report::raise`] is where it becomes one.

use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::prelude::*;

/// A complete refusal or failure.
#[derive(Clone, Debug)]
pub struct Report {
    /// The most specific standard class.
    pub code: PgSqlErrorCode,
    /// One line, lower case start, no full stop.
    pub message: String,
    /// Facts, in full sentences.
    pub detail: Option<String>,
    /// Advice, in full sentences.
    pub hint: Option<String>,
    /// What another node answered, with the fields that only a hook's border
    /// can pass on: schema, table, constraint, context.
    remote: Option<Box<fdw::Error>>,
}

impl Report {
    /// A report without detail and hint.
    pub fn new(code: PgSqlErrorCode, message: impl Into<String>) -> Self {
        Report { code, message: message.into(), detail: None, hint: None, remote: None }
    }

    /// Replaces the SQLSTATE.
    pub fn code(self, code: PgSqlErrorCode) -> Self {
        Report { code, ..self }
    }

    /// Adds facts.
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Report { detail: Some(detail.into()), ..self }
    }

    /// Adds advice.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Report { hint: Some(hint.into()), ..self }
    }

    /// Replaces the advice, also where another node's answer is passed on.
    pub fn replace_hint(mut self, hint: &str) -> Self {
        if let Some(fdw::Error::Remote { error, .. }) = self.remote.as_deref_mut() {
            error.hint = Some(hint.as_bytes().to_vec());
        }
        self.hint(hint)
    }

    /// Raises ERROR. Never call it from Drop or from a COMMIT callback.
    pub fn raise(self) -> ! {
        let report = ErrorReport::new(self.code, self.message, "shardman");
        let report = match self.detail {
            Some(detail) => report.set_detail(detail),
            None => report,
        };
        let report = match self.hint {
            Some(hint) => report.set_hint(hint),
            None => report,
        };
        report.report(PgLogLevel::ERROR);
        unreachable!("a report at level ERROR does not return")
    }
}

/// The border itself.
pub trait OrRaise<T> {
    /// The value, or an ERROR.
    fn or_raise(self) -> T;
}

impl<T> OrRaise<T> for Result<T, Report> {
    fn or_raise(self) -> T {
        self.unwrap_or_else(|report| report.raise())
    }
}

impl From<pgrx::spi::Error> for Report {
    /// Our own queries on our own catalogues failed: no user's mistake.
    fn from(error: pgrx::spi::Error) -> Self {
        Report::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "could not query the shardman catalogs")
            .detail(error.to_string())
    }
}

impl From<fdw::Error> for Report {
    fn from(error: fdw::Error) -> Self {
        let report = fdw::Report::from(error.clone());
        Report {
            code: PgSqlErrorCode::from(report.packed_sqlstate()),
            message: report.message(),
            detail: report.detail(),
            hint: report.hint(),
            remote: Some(Box::new(error)),
        }
    }
}

impl From<CaughtError> for Report {
    /// What was raised in a background process, which goes on.
    fn from(caught: CaughtError) -> Self {
        match caught {
            CaughtError::PostgresError(error)
            | CaughtError::ErrorReport(error)
            | CaughtError::RustPanic { ereport: error, .. } => Report {
                code: error.sql_error_code(),
                message: error.message().to_owned(),
                detail: error.detail().map(str::to_owned),
                hint: error.hint().map(str::to_owned),
                remote: None,
            },
        }
    }
}

impl From<fdw::Refusal> for Report {
    fn from(refusal: fdw::Refusal) -> Self {
        fdw::Error::from(refusal).into()
    }
}

impl From<Report> for fdw::Refusal {
    fn from(report: Report) -> Self {
        fdw::Refusal {
            sqlstate: fdw::SqlState::from_packed(report.code as i32),
            message: report.message,
            detail: report.detail,
            hint: report.hint,
        }
    }
}

impl From<Report> for fdw::Error {
    fn from(report: Report) -> Self {
        match report.remote {
            Some(remote) => *remote,
            None => fdw::Refusal::from(report).into(),
        }
    }
}
