//! Changes of the schema of tables with logs: rows that were written down before
//! are applied before, on every node.
#![allow(unsafe_code)]

use std::time::Duration;

use cluster::TableId;
use cluster::metadata::{MetadataCommand, Outcome, Refusal, TokenId};
use cluster::row_log::{RowLogAnswer, RowLogCommand, RowLogId, RowLogPosition};
use cluster::sharding::NodeCommand;
use pgrx::prelude::*;
use raft::{Request, Response};

use super::refusal::{no_majority, refused, unexpected};
use super::{buffer, memory};
use crate::catalog::{ReplicatedTable, note_shape, qualified_name, registry};
use crate::report::Report;
use crate::{peers, schema_change, worker};

/// For this node to apply what was accepted before.
const PATIENCE: Duration = Duration::from_secs(30);

/// The running transaction, which may change the schema, is about to change the
/// table: no more rows are accepted, and all nodes apply those that were. To be
/// called before the table is locked.
pub fn fence(table: ReplicatedTable, log: RowLogId) -> Result<(), Report> {
    let Some((token, _)) = schema_change::current() else { return Ok(()) };
    if table.shape == token {
        return Ok(());
    }
    if buffer::has_written(table.table_id) {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_IN_USE,
            format!(
                "cannot change the definition of table {} after rows of it were changed in the same transaction",
                qualified_name(table.rel)
            ),
        )
        .hint("Commit in between, or change the definition first."));
    }
    let command = RowLogCommand::Fence { log, table: table.table_id, token };
    let request = Request::Propose(MetadataCommand::RowLog(command));
    let answer = worker::try_ask(&request)?;
    let answer = answer.map_err(|error| no_majority(error, "change a table with a log"))?;
    let tail = match answer {
        Response::Proposed { outcome: Outcome::RowLog(RowLogAnswer::Fenced { tail }), .. } => tail,
        Response::Proposed { outcome: Outcome::Refused(Refusal::RowLog(refusal)), .. } => {
            return Err(refused(refusal));
        }
        other => return Err(unexpected(other)),
    };
    reach(log, table.table_id, tail, token)?;
    let table = table.table_id;
    peers::tell_all(&NodeCommand::ReachRowLog { log, table, position: tail, shape: token })
}

/// The same if the table, or that of the index, is one with a log.
pub fn before_change(rel: pg_sys::Oid) -> Result<(), Report> {
    // SAFETY: a syscache look-up.
    let table = unsafe { pg_sys::IndexGetRelation(rel, true) };
    let table = if table == pg_sys::InvalidOid { rel } else { table };
    match registry()?.logged_of(table) {
        Some((table, log)) => fence(table, log),
        None => Ok(()),
    }
}

/// This node's part of that.
pub fn reach(
    log: RowLogId,
    table: TableId,
    tail: RowLogPosition,
    shape: TokenId,
) -> Result<(), Report> {
    // A node that needs a copy of the rows gets them as the table is by then.
    if !super::copy::is_due(log) && !memory::wait_for(log, tail, PATIENCE) {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_CANNOT_CONNECT_NOW,
            "timed out while waiting for a node to apply the log of the table",
        )
        .detail(format!("It has applied entry {} of {tail}.", memory::position(log)))
        .hint("Look at shardman.logs."));
    }
    note_shape(table, shape)
}
