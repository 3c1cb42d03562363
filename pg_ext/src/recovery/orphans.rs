//! Parts that are prepared here and whose coordinator cannot be asked.

use cluster::NodeId;
use cluster::txn::{Answer, Gid, Verdict, decide_without_coordinator};
use pgrx::prelude::*;

use super::nodes::Prepared;
use super::pass::Pass;
use crate::catalog::ActingAs;
use crate::report::Report;

/// Finishes those whose fate another participant knows, and notes for
/// `shardman.in_doubt` what is known of the rest.
pub fn finish(pass: &mut Pass<'_>) -> Result<(), Report> {
    let here = pass.me;
    let (mine, others) =
        std::mem::take(&mut pass.prepared).into_iter().partition(|found| found.node == here);
    pass.prepared = others;
    let mine: Vec<Prepared> = mine;
    let mut notes = Vec::new();
    for found in mine.iter().filter(|found| found.is_old && found.gid.token.is_none()) {
        let coordinator = found.gid.transaction.coordinator;
        if pass.listing.has(coordinator) {
            continue;
        }
        let answers = ask_others(pass, &found.gid);
        let known: Vec<_> = answers.iter().map(|(_, answer)| *answer).collect();
        match decide_without_coordinator(&known) {
            Verdict::Commit => pass.finish(found, "COMMIT"),
            Verdict::Rollback => pass.finish(found, "ROLLBACK"),
            Verdict::Wait | Verdict::Undecided => {
                let is_member = pass.member(coordinator).is_some();
                notes.push((found.gid.to_string(), describe(coordinator, is_member, &answers)));
            }
        }
    }
    write_notes(&notes)
}

/// What the other participants say. Those that cannot be asked know nothing.
fn ask_others(pass: &mut Pass<'_>, gid: &Gid) -> Vec<(NodeId, Answer)> {
    let members = pass.members;
    let others = gid.participants.iter().filter(|node| **node != pass.me);
    others
        .map(|node| {
            let is_there = pass.listing.has(*node);
            let member = members.iter().find(|member| member.id == *node && is_there);
            let answer = member.and_then(|member| pass.sessions.ask(member, gid).ok());
            (*node, answer.unwrap_or(Answer::Unknown))
        })
        .collect()
}

fn describe(coordinator: NodeId, is_member: bool, answers: &[(NodeId, Answer)]) -> String {
    let missing = if is_member { "does not answer" } else { "is no member any more" };
    let mut text = format!("node {coordinator}, which decides, {missing}");
    for (node, answer) in answers {
        text.push_str(&match answer {
            Answer::Unknown => format!("; node {node} knows nothing"),
            answer => format!("; node {node}: {}", answer.as_str()),
        });
    }
    text
}

/// Makes the table hold these notes and no others, writing only what changes.
fn write_notes(notes: &[(String, String)]) -> Result<(), Report> {
    let gids: Vec<_> = notes.iter().map(|(gid, _)| gid.as_str()).collect();
    let texts: Vec<_> = notes.iter().map(|(_, known)| known.as_str()).collect();
    let _acting = ActingAs::owner_of_the_catalogs();
    Spi::run_with_args(
        "DELETE FROM shardman.in_doubt_note WHERE gid OPERATOR(pg_catalog.<>) ALL ($1)",
        &[gids.clone().into()],
    )?;
    if notes.is_empty() {
        return Ok(());
    }
    Ok(Spi::run_with_args(
        "INSERT INTO shardman.in_doubt_note AS n
         SELECT * FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS w(gid, known)
         ON CONFLICT (gid) DO UPDATE SET known = excluded.known
         WHERE n.known OPERATOR(pg_catalog.<>) excluded.known",
        &[gids.into(), texts.into()],
    )?)
}
