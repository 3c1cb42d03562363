//! What this node answers when another one asks for a transaction's outcome.

use cluster::txn::{Answer, Gid, LocalOutcome};
use pgrx::prelude::*;

use super::decision::{decision_of, promise_abort};
use super::local::outcome_here;
use crate::catalog::ActingAs;
use crate::membership::my_identity;
use crate::report::Report;

/// How long a promise waits for a PREPARE that is under way.
const PROMISE_BOUND: &str = "1s";

/// The answer. If it is that the transaction is aborted, that has been made
/// sure of in the running transaction.
pub fn answer(gid: &Gid) -> Result<Answer, Report> {
    let me = my_identity()?.node_id;
    if gid.transaction.coordinator == me {
        return as_coordinator(gid);
    }
    if let Some(answer) = decided(gid)? {
        return Ok(answer);
    }
    if is_prepared_here(gid)? {
        return Ok(Answer::Prepared);
    }
    if !gid.participants.contains(&me) {
        return Ok(Answer::Unknown);
    }
    Spi::run(&format!("SET LOCAL lock_timeout = '{PROMISE_BOUND}'"))?;
    promise_abort(gid)?;
    Ok(decided(gid)?.unwrap_or(Answer::Unknown))
}

/// First whether it is over, then the row: the other way round a commit in
/// between would look like an abort.
fn as_coordinator(gid: &Gid) -> Result<Answer, Report> {
    let outcome = outcome_here(gid.transaction)?;
    let is_committed = decision_of(gid.transaction)?.is_some();
    Ok(match (outcome, is_committed) {
        (LocalOutcome::InProgress, _) => Answer::Prepared,
        (_, true) => Answer::Committed,
        (LocalOutcome::Over, false) => Answer::Aborted,
        (LocalOutcome::Unknown, false) => Answer::Unknown,
    })
}

fn decided(gid: &Gid) -> Result<Option<Answer>, Report> {
    let answer = |is_commit| if is_commit { Answer::Committed } else { Answer::Aborted };
    Ok(decision_of(gid.transaction)?.map(|decision| answer(decision.is_commit)))
}

fn is_prepared_here(gid: &Gid) -> Result<bool, Report> {
    let transaction = gid.transaction;
    let prefix =
        format!("sc_{}_{}_{}_", transaction.coordinator, transaction.life.0, transaction.xid);
    let _acting = ActingAs::owner_of_the_catalogs();
    let found = Spi::get_one_with_args::<bool>(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_prepared_xacts
                        WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database()
                          AND pg_catalog.starts_with(gid, $1))",
        &[prefix.into()],
    )?;
    Ok(found == Some(true))
}
