//! Parts of schema changes that are prepared on this node.

use cluster::metadata::{Fate, TokenId};
use cluster::txn::Gid;
use pgrx::prelude::*;
use pgrx::spi::quote_literal;
use raft::{Request, Response};

use super::super::token::unexpected;
use super::pass::in_transaction;
use crate::catalog::{Member, read_latest};
use crate::membership::Dialog;
use crate::report::Report;
use crate::worker;

/// Rolls back what will never be committed: the log has taken the token away
/// and nothing was accepted under it. What is committed waits for its turn.
pub fn sweep(session: &mut Option<Dialog>, own: &Member) -> Result<(), Report> {
    let found = in_transaction(|| list("sd_"))?;
    let tokens: Vec<TokenId> = found.iter().filter_map(|(_, gid)| gid.token).collect();
    if tokens.is_empty() {
        return Ok(());
    }
    let fates = match worker::ask(&Request::Fates(tokens))? {
        Response::Fates(fates) => fates,
        other => return Err(unexpected(format!("{other:?}"))),
    };
    for ((text, _), fate) in found.iter().zip(fates) {
        if fate == Fate::Void {
            finish(session, own, "ROLLBACK", text)?;
        }
    }
    Ok(())
}

/// Commits what is prepared here under a token.
pub fn commit(session: &mut Option<Dialog>, own: &Member, token: TokenId) -> Result<(), Report> {
    for (text, _) in in_transaction(|| list(&Gid::prefix_under(token)))? {
        finish(session, own, "COMMIT", &text)?;
    }
    Ok(())
}

fn list(prefix: &str) -> Result<Vec<(String, Gid)>, Report> {
    let rows = read_latest(
        pg_sys::RelationRelationId,
        &format!(
            "SELECT gid FROM pg_catalog.pg_prepared_xacts
             WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database()
               AND pg_catalog.starts_with(gid, {})",
            quote_literal(prefix)
        ),
    )?;
    let texts = rows.into_iter().flatten().flatten();
    Ok(texts.filter_map(|text| Gid::parse(&text).map(|gid| (text, gid))).collect())
}

/// COMMIT or ROLLBACK PREPARED. Fine if it is finished already; if the
/// coordinator is at it, the next look sees what came of it.
fn finish(session: &mut Option<Dialog>, own: &Member, verb: &str, gid: &str) -> Result<(), Report> {
    let done = open(session, own)?.rows(&format!("{verb} PREPARED {}", quote_literal(gid)));
    match done {
        Err(report) if report.code == PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT => Ok(()),
        other => other.map(drop),
    }
}

/// The session with this server itself, as another node would have it.
pub fn open<'a>(session: &'a mut Option<Dialog>, own: &Member) -> Result<&'a mut Dialog, Report> {
    let kept = session.take();
    let kept = match kept {
        Some(kept) => kept,
        None => Dialog::open_member_session(own)?,
    };
    Ok(session.insert(kept))
}
