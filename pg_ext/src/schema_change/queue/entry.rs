//! Bringing one entry about.

use cluster::NodeId;
use cluster::metadata::{DDL_FORMAT, DdlCommand, DdlEntry, DdlPosition, MetadataCommand, TokenId};
use cluster::sharding::NodeCommand;
use pgrx::prelude::*;
use pgrx::spi::quote_literal;

use super::super::applied;
use super::pass::{in_transaction, propose};
use super::prepared;
use crate::catalog::{ActingAs, Member};
use crate::membership::Dialog;
use crate::node_session::{APPLY, EFFECTIVE_USER};
use crate::report::Report;

/// Does what an entry says, if it is not done, and notes the position in the
/// same transaction.
pub fn run(
    session: &mut Option<Dialog>,
    own: &Member,
    position: DdlPosition,
    entry: &DdlEntry,
) -> Result<(), Report> {
    check(entry)?;
    let token = entry.token;
    prepared::commit(session, own, token)?;
    let is_done = in_transaction(|| {
        let is_done = applied::has_marker(token)?;
        if is_done {
            applied::claim(token, position)?;
        }
        Ok(is_done)
    })?;
    if is_done {
        return Ok(());
    }
    let session = prepared::open(session, own)?;
    let pin = apply(&NodeCommand::PinTime { now: entry.now });
    let claim = format!("SELECT shardman.claim_schema_change({token}, {position})");
    // Waits for the coordinator, if that is this node and it is at it.
    if session.rows(&format!("BEGIN; {pin}; {claim}"))? == [[Some("t".to_owned())]] {
        for step in &entry.steps {
            session.rows(&format!(
                "SET {EFFECTIVE_USER} TO {}, {}; SET {APPLY} TO {}",
                quote_literal(&step.user),
                quote_literal(&step.search_path),
                quote_literal(&step.command),
            ))?;
        }
    }
    session.rows("COMMIT").map(drop)
}

fn apply(command: &NodeCommand) -> String {
    let command = serde_json::to_string(command).unwrap_or_default();
    format!("SET {APPLY} TO {}", quote_literal(&command))
}

fn check(entry: &DdlEntry) -> Result<(), Report> {
    if entry.format != DDL_FORMAT {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "a schema change was written by another version of shardman",
        )
        .detail(format!("It has format {}; this node reads {DDL_FORMAT}.", entry.format))
        .hint("All nodes must run the same version of shardman."));
    }
    if !entry.is_intact() {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
            "a schema change in the metadata log is damaged",
        ));
    }
    Ok(())
}

/// Says how this node's own transaction ended that left an intent behind. Waits
/// for it if it is still at work.
pub fn settle(token: TokenId, me: NodeId) -> Result<(), Report> {
    let is_committed = in_transaction(|| applied::was_committed(token))?;
    propose(MetadataCommand::Ddl(DdlCommand::Settle { token, by: me, is_committed }))
}

/// Shows why the queue does not go on.
pub fn note_failure(position: DdlPosition, report: &Report) -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    let message = match &report.detail {
        Some(detail) => format!("{}: {detail}", report.message),
        None => report.message.clone(),
    };
    Ok(Spi::run_with_args(
        "INSERT INTO shardman.ddl_failure VALUES ($1, pg_catalog.now(), $2)
         ON CONFLICT (log_position) DO UPDATE
             SET failed_at = excluded.failed_at, message = excluded.message",
        &[(position.0 as i64).into(), message.into()],
    )?)
}

/// It goes on.
pub fn forget_failure() -> Result<(), Report> {
    let _acting = ActingAs::owner_of_the_catalogs();
    Ok(Spi::run("DELETE FROM shardman.ddl_failure")?)
}
