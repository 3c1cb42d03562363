//! A node that is so far behind that the entries it needs are gone: it gets the
//! rows of the log's tables from another node, as of one position.
#![allow(unsafe_code)]

use std::time::Duration;

use cluster::row_log::{RowLogId, RowLogPosition};
use raft::{Request, Response};

use super::{memory, position};
use crate::catalog::{Member, ReplicatedTable, registry};
use crate::jobs::in_transaction;
use crate::membership::Dialog;
use crate::node_session::EFFECTIVE_USER;
use crate::replicated::{bring_up_to_date, owner_of};
use crate::report::Report;
use crate::worker;
use pgrx::prelude::*;
use pgrx::spi::quote_literal;

/// For logging in and for each step.
const BOUND: Duration = Duration::from_secs(30);

/// Whether this node has missed entries that are gone.
pub fn is_due(log: RowLogId) -> bool {
    match worker::ask(&Request::RowLogs) {
        Ok(Response::RowLogs(view)) => {
            let known = view.logs.iter().find(|it| it.id == log);
            known.is_some_and(|it| it.truncated > memory::position(log))
        }
        _ => false,
    }
}

/// Makes this node's copies equal to another's, and its position with them.
pub fn fetch(log: RowLogId, own: &Member) -> Result<RowLogPosition, Report> {
    let (others, tables) = in_transaction(|| look_around(log, own))?;
    let mut last = None;
    for member in &others {
        match fetch_from(log, member, &tables) {
            Ok(Some(position)) => return Ok(position),
            Ok(None) => {}
            Err(report) => last = Some(report),
        }
    }
    Err(last.unwrap_or_else(|| {
        Report::new(
            PgSqlErrorCode::ERRCODE_CANNOT_CONNECT_NOW,
            "no other node has the entries of the log that this one has missed",
        )
    }))
}

type Owned = (ReplicatedTable, String);

fn look_around(log: RowLogId, own: &Member) -> Result<(Vec<Member>, Vec<Owned>), Report> {
    let registry = registry()?;
    let active = registry.members().iter().filter(|it| it.is_active && it.id != own.id);
    let tables = registry.replicated_tables().into_iter().filter(|it| it.log == Some(log));
    let tables = tables.map(|table| (table, owner_of(table.rel))).collect();
    Ok((active.cloned().collect(), tables))
}

/// None if that node is not further on.
fn fetch_from(
    log: RowLogId,
    member: &Member,
    tables: &[Owned],
) -> Result<Option<RowLogPosition>, Report> {
    let mut session = Dialog::open_bounded_member_session(member, BOUND)?;
    session.rows("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
    let there = session.value(&format!("SELECT shardman.local_log_position({log})"))?;
    let there = RowLogPosition(there.parse().unwrap_or_default());
    if there <= memory::position(log) {
        return Ok(None);
    }
    // One transaction: rows and position belong together.
    in_transaction(|| {
        for (table, owner) in tables {
            check_shape(&mut session, *table)?;
            session.rows(&format!("SET {EFFECTIVE_USER} TO {}", quote_literal(owner)))?;
            bring_up_to_date(&mut session, *table)?;
        }
        position::note(log, there)
    })?;
    memory::advance(log, there);
    session.rows("COMMIT")?;
    Ok(Some(there))
}

/// Images mean something only between tables of the same shape.
fn check_shape(session: &mut Dialog, table: ReplicatedTable) -> Result<(), Report> {
    let shapes = session.column(&format!(
        "SELECT shape FROM shardman.replicated_table WHERE table_id OPERATOR(pg_catalog.=) {}",
        table.table_id
    ))?;
    if shapes == [table.shape.to_string()] {
        return Ok(());
    }
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "the table has changed on another node, and not yet here",
    ))
}
