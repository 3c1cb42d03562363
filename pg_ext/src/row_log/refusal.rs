//! The log's refusals as users see them.

use cluster::row_log::{MAX_ENTRY_BYTES, MAX_ROW_LOGS, RowLogRefusal};
use pgrx::prelude::*;
use raft::RaftError;

use crate::catalog::{qualified_name, registry};
use crate::report::Report;

/// Why an entry was not accepted.
pub fn refused(refusal: RowLogRefusal) -> Report {
    use PgSqlErrorCode::*;
    let table_name = |table| {
        let rel = registry().ok().and_then(|registry| registry.managed_rel(table));
        rel.map_or_else(|| format!("{table}"), qualified_name)
    };
    match refusal {
        RowLogRefusal::Conflict { log, table, position } => Report::new(
            ERRCODE_T_R_SERIALIZATION_FAILURE,
            "could not serialize access due to a concurrent change on another node",
        )
        .detail(format!(
            "Entry {position} of log \"{log}\" has changed rows of table {} that this transaction depends on.",
            table_name(table)
        ))
        .hint("Retry the transaction."),
        RowLogRefusal::TooOld { log } => Report::new(
            ERRCODE_T_R_SERIALIZATION_FAILURE,
            "could not serialize access to tables with a log",
        )
        .detail(format!("The transaction has looked at log \"{log}\" so long ago that its entries since then are not remembered."))
        .hint("Retry the transaction, and keep it short."),
        RowLogRefusal::SchemaChanged { table } => Report::new(
            ERRCODE_T_R_SERIALIZATION_FAILURE,
            format!("the definition of table {} was changed by a concurrent transaction", table_name(table)),
        )
        .hint("Retry the transaction."),
        RowLogRefusal::TooLarge => too_large(),
        RowLogRefusal::UnknownLog { .. } => Report::new(
            ERRCODE_UNDEFINED_OBJECT,
            "the log of a table does not exist",
        )
        .hint("Look at shardman.logs."),
        RowLogRefusal::NameTaken { .. } => {
            Report::new(ERRCODE_DUPLICATE_OBJECT, refusal.to_string())
        }
        RowLogRefusal::TooMany => {
            Report::new(ERRCODE_PROGRAM_LIMIT_EXCEEDED, "cannot create more logs")
                .detail(format!("A cluster has {MAX_ROW_LOGS} logs at most."))
        }
        RowLogRefusal::NotYours { .. }
        | RowLogRefusal::SettledOtherwise
        | RowLogRefusal::TokenRevoked => Report::new(
            ERRCODE_T_R_SERIALIZATION_FAILURE,
            "the metadata log refused the change",
        )
        .detail(format!("Reason: {refusal}."))
        .hint("Retry the transaction."),
    }
}

/// The changes of a transaction do not fit.
pub fn too_large() -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        "the transaction changes too many rows of tables with a log",
    )
    .detail(format!("The rows of one transaction travel as one entry of at most {MAX_ENTRY_BYTES} bytes."))
    .hint("Split the change into several transactions; shardman.replicate_table() takes a filled table of any size.")
}

/// Nothing was appended, or the tail could not be confirmed.
pub fn no_majority(error: RaftError, what: &str) -> Report {
    let is_silent =
        matches!(error, RaftError::NoLeader | RaftError::NotLeader | RaftError::Timeout { .. });
    let report = Report::from(error);
    if !is_silent {
        return report;
    }
    Report::new(report.code, format!("could not {what}: this node does not reach a majority of the nodes"))
        .detail(report.message)
        .hint("A majority of the voters must be up and reach each other. To read what this node has, SET shardman.consistency_model TO 'optimistic'.")
}

/// An answer of another kind than the question's.
pub fn unexpected(what: impl std::fmt::Debug) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
        "the metadata worker gave an unexpected answer",
    )
    .detail(format!("It was {what:?}."))
}
