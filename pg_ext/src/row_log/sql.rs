//! The functions of `shardman.logs`.
#![allow(unsafe_code)]

use cluster::metadata::{MetadataCommand, Outcome, Refusal};
use cluster::row_log::{RowLogAnswer, RowLogCommand, RowLogId, RowLogPosition, Settled};
use pgrx::prelude::*;
use raft::{Request, Response, RowLogsView};

use super::refusal::{no_majority, refused, unexpected};
use super::{buffer, memory};
use crate::catalog::{ActingAs, qualified_name, registry};
use crate::replicated::replicate_under;
use crate::report::{OrRaise, Report};
use crate::{membership, worker};

/// How all logs stand, once this node knows what a majority knows.
fn current() -> Result<RowLogsView, Report> {
    let confirmed = worker::try_ask(&Request::Confirm)?;
    confirmed.map_err(|error| no_majority(error, "look at logs"))?;
    known()
}

/// The same as far as this node knows.
fn known() -> Result<RowLogsView, Report> {
    match worker::ask(&Request::RowLogs)? {
        Response::RowLogs(view) => Ok(view),
        other => Err(unexpected(other)),
    }
}

/// The id of a log that exists.
pub fn id_of(name: &str) -> Result<RowLogId, Report> {
    let find = |view: RowLogsView| view.named(name).map(|log| log.id);
    if let Some(id) = find(known()?) {
        return Ok(id);
    }
    find(current()?).ok_or_else(|| {
        Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("log \"{name}\" does not exist"),
        )
        .hint("shardman.add_log() makes a log; shardman.logs shows them.")
    })
}

#[pg_extern(sql = false)]
fn add_log(name: &str) {
    add(name).or_raise()
}

fn add(name: &str) -> Result<(), Report> {
    membership::my_identity()?;
    if name.is_empty() || name.len() > 63 {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_INVALID_NAME,
            "the name of a log has 1 to 63 bytes",
        ));
    }
    let command = RowLogCommand::Add { name: name.to_owned() };
    match propose(command)? {
        Some(RowLogAnswer::Added { .. }) => {}
        other => return Err(unexpected(other)),
    }
    // A statement that comes next on this node finds it.
    current().map(drop)
}

#[pg_extern(sql = false)]
fn remove_log(name: &str) {
    remove(name).or_raise()
}

fn remove(name: &str) -> Result<(), Report> {
    let log = id_of(name)?;
    crate::ddl::lock_ddl()?;
    let mut tables = registry()?.replicated_tables().into_iter();
    if let Some(table) = tables.find(|table| table.log == Some(log)) {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot remove log \"{name}\""),
        )
        .detail(format!("It carries the changes of table {}.", qualified_name(table.rel)))
        .hint("Drop the table, or turn it into a local one with shardman.unreplicate_table()."));
    }
    propose(RowLogCommand::Remove { log }).map(drop)
}

fn propose(command: RowLogCommand) -> Result<Option<RowLogAnswer>, Report> {
    let answer = worker::try_ask(&Request::Propose(MetadataCommand::RowLog(command)))?;
    match answer.map_err(|error| no_majority(error, "change the logs of the cluster"))? {
        Response::Proposed { outcome: Outcome::Applied, .. } => Ok(None),
        Response::Proposed { outcome: Outcome::RowLog(answer), .. } => Ok(Some(answer)),
        Response::Proposed { outcome: Outcome::Refused(Refusal::RowLog(refusal)), .. } => {
            Err(refused(refusal))
        }
        other => Err(unexpected(other)),
    }
}

#[pg_extern(sql = false)]
fn replicate_table_in_log(log: &str, rel: pg_sys::Oid) {
    id_of(log).and_then(|log| replicate_under(rel, Some(log))).or_raise()
}

/// All logs in JSON.
#[pg_extern(sql = false)]
fn log_states() -> pgrx::JsonB {
    states().or_raise()
}

fn states() -> Result<pgrx::JsonB, Report> {
    if membership::my_identity_if_any()?.is_none() {
        return Ok(pgrx::JsonB(serde_json::json!([])));
    }
    let me = membership::my_identity()?.node_id;
    let logs = known()?.logs.into_iter().map(|log| {
        let mut applied: std::collections::BTreeMap<String, u64> =
            log.applied.iter().map(|(node, at)| (node.to_string(), at.0)).collect();
        // The others tell now and then; this node knows.
        applied.insert(me.to_string(), memory::position(log.id).0);
        let troubles = log.troubles.iter().map(|(node, why)| format!("node {node}: {why}"));
        let troubles: Vec<_> = troubles.collect();
        serde_json::json!({
            "log_id": log.id,
            "name": log.name,
            "last_position": log.tail,
            "truncated": log.truncated,
            "applied": applied,
            "last_error": (!troubles.is_empty()).then(|| troubles.join("; ")),
        })
    });
    Ok(pgrx::JsonB(serde_json::Value::from_iter(logs)))
}

/// One entry in JSON; none if there is none, or none any more.
#[pg_extern(sql = false)]
fn read_log(name: &str, position: i64) -> Option<pgrx::JsonB> {
    read(name, position).or_raise()
}

fn read(name: &str, position: i64) -> Result<Option<pgrx::JsonB>, Report> {
    let log = id_of(name)?;
    let wanted = RowLogPosition(u64::try_from(position).unwrap_or_default());
    worker::try_ask(&Request::Confirm)?.map_err(|error| no_majority(error, "read a log"))?;
    let request = Request::RowEntries { log, after: wanted.previous(), limit_ms: 0 };
    let entries = match worker::ask(&request)? {
        Response::RowEntries { entries, .. } => entries,
        other => return Err(unexpected(other)),
    };
    let Some((_, accepted)) = entries.into_iter().find(|(at, _)| *at == wanted) else {
        return Ok(None);
    };
    let registry = registry()?;
    let mut changes = Vec::new();
    for (table, bytes) in buffer::pieces(&accepted.part.changes.0)? {
        let rel = registry.managed_rel(table);
        changes.push(serde_json::json!({
            "table": rel.map(qualified_name),
            "table_id": table,
            "bytes": bytes.len(),
            "kind": bytes.first().map(|code| char::from(*code).to_string()),
        }));
    }
    let state = match accepted.settled {
        Settled::Pending => "pending",
        Settled::Committed => "committed",
        Settled::Aborted => "aborted",
    };
    Ok(Some(pgrx::JsonB(serde_json::json!({
        "node": accepted.transaction.coordinator,
        "xid": accepted.transaction.xid,
        "state": state,
        "changes": changes,
    }))))
}

/// What the position of a log is on this node, as the statement's snapshot sees
/// it: for a node that copies its tables.
#[pg_extern(sql = false)]
fn local_log_position(log: i32) -> i64 {
    super::position::seen(RowLogId(log as u32)).or_raise().0 as i64
}

/// Refuses a table that a log cannot carry.
pub fn check_table(rel: pg_sys::Oid) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let has_keys = Spi::get_one_with_args::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint
                        WHERE contype OPERATOR(pg_catalog.=) 'f'
                          AND (conrelid OPERATOR(pg_catalog.=) $1 OR confrelid OPERATOR(pg_catalog.=) $1))",
        &[rel.into()],
    )?;
    if has_keys != Some(true) {
        return Ok(());
    }
    Err(no_foreign_keys(rel))
}

/// Foreign keys cannot be kept by logs.
fn no_foreign_keys(rel: pg_sys::Oid) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("table {} has a log and can have no foreign keys", qualified_name(rel)),
    )
    .detail("Two nodes may change both tables at the same time, and neither would see the other's rows.")
    .hint("Leave out log: a table WITH (replicated) may reference and be referenced.")
}
