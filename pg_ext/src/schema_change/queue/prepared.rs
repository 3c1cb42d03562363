//! Parts of schema changes that are prepared on this node.

use std::time::{Duration, Instant};

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
use crate::worker::{self, process};

/// What a coordinator has for finishing a part by itself before this node does.
const COORDINATORS_TIME: Duration = Duration::from_millis(200);
/// For one that is at it.
const PATIENCE: Duration = Duration::from_secs(30);
/// It may have let go of the part: each attempt is a line in the server's log.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

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

/// COMMIT or ROLLBACK PREPARED. Most often the coordinator is about to do it: it
/// has the first word, and if it is at it this waits. No event tells when a part
/// is let go of.
fn finish(session: &mut Option<Dialog>, own: &Member, verb: &str, gid: &str) -> Result<(), Report> {
    let (begun, command) = (Instant::now(), format!("{verb} PREPARED {}", quote_literal(gid)));
    while begun.elapsed() < COORDINATORS_TIME {
        if !is_prepared(gid)? {
            return Ok(());
        }
        if !process::wait(PAUSE) {
            break;
        }
    }
    loop {
        match open(session, own)?.rows(&command) {
            Err(report) if report.code == PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT => {
                return Ok(());
            }
            // The one error of this code: another session is at it.
            Err(report)
                if report.code == PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE =>
            {
                let again = Instant::now() + TRY_AGAIN_AFTER;
                while Instant::now() < again {
                    if !is_prepared(gid)? {
                        return Ok(());
                    }
                    if begun.elapsed() > PATIENCE || !process::wait(PAUSE) {
                        return Err(report);
                    }
                }
            }
            other => return other.map(drop),
        }
    }
}

fn is_prepared(gid: &str) -> Result<bool, Report> {
    Ok(in_transaction(|| list(gid))?.iter().any(|(text, _)| text == gid))
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
