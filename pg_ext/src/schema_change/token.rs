//! Getting the token from the log.
#![allow(unsafe_code)]

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cluster::LogIndex;
use cluster::metadata::{
    DdlAnswer, DdlCommand, DdlRefusal, DdlTail, MetadataCommand, Outcome, Refusal, TokenHolder,
    TokenId,
};
use pgrx::prelude::*;
use raft::{RaftError, Request, Response};

use super::standing::next_request;
use crate::membership::my_identity;
use crate::recovery::present_life;
use crate::report::Report;
use crate::shared_memory::{my_place, places};
use crate::worker;

/// How long to wait for another holder before standing in line again.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a request is repeated whose outcome is unknown.
const ATTEMPTS: u32 = 3;

/// Asks for the token; `None` if another transaction has it still after a
/// while.
pub fn take() -> Result<Option<(TokenId, DdlTail)>, Report> {
    let holder =
        TokenHolder { node: my_identity()?.node_id, life: present_life(), request: next_request() };
    // Before anything is asked: what nobody wants is given up.
    want(holder.request);
    let deadline = Instant::now() + PATIENCE;
    let mut unknown = 0;
    loop {
        let command = MetadataCommand::Ddl(DdlCommand::TakeToken { holder });
        match worker::try_ask(&Request::Propose(command))? {
            Ok(Response::Proposed { outcome, .. }) => match outcome {
                Outcome::Ddl(DdlAnswer::Granted { token, after }) => {
                    return Ok(Some((token, after)));
                }
                Outcome::Refused(Refusal::Ddl(
                    DdlRefusal::TokenHeld { .. } | DdlRefusal::IntentPending { .. },
                )) => {}
                Outcome::Refused(refusal) => return Err(unexpected(refusal.to_string())),
                other => return Err(unexpected(format!("{other:?}"))),
            },
            Ok(other) => return Err(unexpected(format!("{other:?}"))),
            Err(RaftError::OutcomeUnknown) if unknown < ATTEMPTS => {
                unknown += 1;
                continue;
            }
            Err(error) => return Err(no_majority(error)),
        }
        if !wait_until_free(deadline)? {
            return Ok(None);
        }
    }
}

/// Waits until nobody holds the token; false if the time is over.
fn wait_until_free(deadline: Instant) -> Result<bool, Report> {
    let mut seen = LogIndex(0);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let limit_ms = left.as_millis() as u64;
        match worker::ask(&Request::WatchDdl { after: seen, limit_ms })? {
            Response::Ddl(view) if view.token.is_none() && view.pending.is_none() => {
                return Ok(true);
            }
            Response::Ddl(view) => seen = view.index,
            other => return Err(unexpected(format!("{other:?}"))),
        }
    }
}

fn want(request: u64) {
    if let Some(place) = my_place() {
        place.ddl_request.store(request, Ordering::SeqCst);
    }
}

/// The transaction is over. Raises nothing.
pub fn want_nothing() {
    want(0);
}

/// Whether a backend of this server still wants what it asked for. Also called
/// from other threads than PostgreSQL's.
pub fn is_wanted(request: u64) -> bool {
    places().iter().any(|place| place.ddl_request.load(Ordering::SeqCst) == request)
}

pub fn unexpected(answer: String) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
        "the metadata worker gave an unexpected answer",
    )
    .detail(answer)
}

/// The log did not answer.
pub fn no_majority(error: RaftError) -> Report {
    match error {
        RaftError::NoLeader
        | RaftError::NotLeader
        | RaftError::Unrecognised { .. }
        | RaftError::Timeout { .. } => Report::new(
            PgSqlErrorCode::ERRCODE_CANNOT_CONNECT_NOW,
            "cannot change the schema without a majority of the nodes",
        )
        .detail(format!("The metadata log did not answer: {error}."))
        .hint("Retry when a majority of the voters is up and can be reached from this node."),
        other => other.into(),
    }
}
