//! Recovery at an operator's request, and what nodes ask each other.

use cluster::txn::{Answer, Gid};
use pgrx::prelude::*;

use super::nodes::Sessions;
use super::{outcome, pass};
use crate::catalog::registry;
use crate::membership::my_identity;
use crate::report::{OrRaise, Report};

/// One pass, now. Returns how many participants were finished.
#[pg_extern(sql = false)]
fn recover_xacts() -> i64 {
    let tally = pass::run(&mut Sessions::default()).or_raise();
    tally.troubles.iter().for_each(|trouble| warning!("{trouble}"));
    tally.finished
}

/// What this node knows of a transaction. Called by participants.
#[pg_extern(sql = false)]
fn transaction_outcome(gid: &str) -> &'static str {
    let answer = Gid::parse(gid).map_or(Ok(Answer::Unknown), |gid| outcome::answer(&gid));
    answer.or_raise().as_str()
}

/// Finishes a part that is prepared here as the operator decides.
#[pg_extern(sql = false)]
fn resolve_in_doubt(gid: &str, decision: &str) {
    resolve(gid, decision).or_raise()
}

fn resolve(text: &str, decision: &str) -> Result<(), Report> {
    let (verb, contrary) = match decision {
        "commit" => ("COMMIT", Answer::Aborted),
        "abort" => ("ROLLBACK", Answer::Committed),
        _ => {
            let invalid = PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE;
            return Err(Report::new(invalid, format!("invalid decision: \"{decision}\""))
                .hint("Say 'commit' or 'abort'."));
        }
    };
    let absent = || {
        let undefined = PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT;
        Report::new(undefined, format!("transaction \"{text}\" is not prepared on this node"))
            .hint("Look at shardman.in_doubt on each node.")
    };
    let gid = Gid::parse(text).ok_or_else(absent)?;
    if gid.token.is_some() {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("transaction \"{text}\" is not to be decided by hand"),
        )
        .detail("It changes the schema, and the metadata log decides about it.")
        .hint("It is finished by itself as soon as a majority of the nodes is up."));
    }
    let me = my_identity()?.node_id;
    let registry = registry()?;
    let own = registry.member(me).ok_or_else(absent)?;
    let mut sessions = Sessions::default();
    if !sessions.list(own)?.iter().any(|found| found.gid == gid) {
        return Err(absent());
    }
    // Whoever can be asked is asked, the coordinator above all.
    let askable = std::iter::once(gid.transaction.coordinator).chain(gid.participants.clone());
    for node in askable.filter(|node| *node != me) {
        let Some(member) = registry.member(node) else { continue };
        let Ok(answer) = sessions.ask(member, &gid) else { continue };
        let is_live = node == gid.transaction.coordinator && answer == Answer::Prepared;
        if answer == contrary || is_live {
            let state = if is_live { "in progress" } else { answer.as_str() };
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("transaction \"{text}\" is not to be decided by hand"),
            )
            .detail(format!("On node {node} it is {state}."))
            .hint(
                "Recovery finishes it by itself; shardman.recover_xacts() has it look at once.",
            ));
        }
    }
    sessions.finish(own, &gid, verb)
}
