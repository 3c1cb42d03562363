//! One look at all nodes.
#![allow(unsafe_code)]

use std::collections::{BTreeSet, HashMap};

use cluster::NodeId;
use cluster::txn::{CoordinatorRecord, Gid, Leftovers, LocalOutcome, Verdict, decide, is_settled};
use pgrx::prelude::*;
use pgrx::spi::quote_literal;

use crate::catalog::{ActingAs, Member, catalog, read_latest, registry};
use crate::membership::{Dialog, my_identity_if_any};
use crate::report::Report;

/// A participant younger than this is left to the backend that prepared it.
const GRACE_SECONDS: f64 = 2.0;

/// Sessions kept from pass to pass, by node.
#[derive(Default)]
pub struct Sessions(HashMap<NodeId, Dialog>);

/// What a pass did.
pub struct Tally {
    /// Participants committed or rolled back.
    pub finished: i64,
    /// What an operator should know, one line each.
    pub troubles: Vec<String>,
    /// What is left of this node's transactions.
    pub leftovers: Leftovers,
}

impl Default for Tally {
    fn default() -> Self {
        Tally { finished: 0, troubles: Vec::new(), leftovers: Leftovers::None }
    }
}

/// A participant as its node listed it.
struct Prepared {
    node: NodeId,
    gid: Gid,
    is_old: bool,
}

/// Looks at every node and finishes what this one coordinated. Must run in a
/// transaction; what is done on other nodes is done at once.
pub fn run(sessions: &mut Sessions) -> Result<Tally, Report> {
    let mut tally = Tally::default();
    let Some(identity) = my_identity_if_any()? else { return Ok(tally) };
    let registry = registry()?;
    let others: Vec<_> =
        registry.members().iter().filter(|member| member.id != identity.node_id).collect();
    if others.is_empty() {
        return Ok(tally);
    }
    // Read before the listing: only these may be settled by it.
    let decided_before = decisions()?;
    let mut prepared = Vec::new();
    let mut listed = BTreeSet::new();
    for member in &others {
        match list(sessions, member, identity.node_id) {
            Ok(found) => {
                prepared.extend(found);
                listed.insert(member.id);
            }
            Err(report) => {
                sessions.0.remove(&member.id);
                tally.leftovers = Leftovers::Some;
                // A node that is down is looked at again in the next pass.
                if !is_absence(&report) {
                    let Report { message, .. } = report;
                    tally.troubles.push(format!("could not look at node {}: {message}", member.id));
                }
            }
        }
    }
    // First whether it is over, then the row: the other way round a commit in
    // between would look like an abort.
    let outcomes: HashMap<_, _> =
        prepared.iter().map(|found| (found.gid.xid, outcome_of(found.gid.xid))).collect();
    let decided = decisions()?;
    for found in &prepared {
        let record = CoordinatorRecord {
            outcome: outcomes[&found.gid.xid],
            has_decision: decided.iter().any(|(xid, _)| *xid == found.gid.xid),
        };
        let verb = match decide(record, found.is_old) {
            Verdict::Wait => {
                if !found.is_old && tally.leftovers == Leftovers::None {
                    tally.leftovers = Leftovers::OnlyYoung;
                }
                continue;
            }
            Verdict::Commit => "COMMIT",
            Verdict::Rollback => "ROLLBACK",
            Verdict::Undecided => {
                tally.troubles.push(format!(
                    "transaction \"{}\" is prepared on node {}, and this node knows nothing of it",
                    found.gid, found.node
                ));
                continue;
            }
        };
        match finish(sessions, found, verb) {
            Ok(()) => tally.finished += 1,
            Err(report) => {
                tally.leftovers = Leftovers::Some;
                tally.troubles.push(format!(
                    "could not finish transaction \"{}\" on node {}: {}",
                    found.gid, found.node, report.message
                ));
            }
        }
    }
    let still: Vec<_> = prepared.iter().map(|found| found.gid).collect();
    let settled = decided_before.iter().filter(|(xid, participants)| {
        is_settled(*xid, &still) && participants.iter().all(|node| listed.contains(node))
    });
    forget(settled.map(|(xid, _)| *xid as i64).collect())?;
    Ok(tally)
}

/// Whether a node is not there, rather than something being wrong with it.
fn is_absence(report: &Report) -> bool {
    matches!(
        report.code,
        PgSqlErrorCode::ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION
            | PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE
            | PgSqlErrorCode::ERRCODE_CANNOT_CONNECT_NOW
            | PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN
            | PgSqlErrorCode::ERRCODE_CRASH_SHUTDOWN
    )
}

fn list(
    sessions: &mut Sessions,
    member: &Member,
    coordinator: NodeId,
) -> Result<Vec<Prepared>, Report> {
    let session = match sessions.0.entry(member.id) {
        std::collections::hash_map::Entry::Occupied(kept) => kept.into_mut(),
        std::collections::hash_map::Entry::Vacant(place) => {
            place.insert(Dialog::open_member_session(member)?)
        }
    };
    let rows = session.rows(&format!(
        "SELECT gid, prepared OPERATOR(pg_catalog.<=)
                (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => {GRACE_SECONDS}))
         FROM pg_catalog.pg_prepared_xacts
         WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database()
           AND pg_catalog.starts_with(gid, 'sc_{coordinator}_')"
    ))?;
    let read = |row: Vec<Option<String>>| {
        let gid = Gid::parse(row.first()?.as_deref()?)?;
        let is_old = row.get(1)?.as_deref() == Some("t");
        Some(Prepared { node: member.id, gid, is_old })
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

fn finish(sessions: &mut Sessions, found: &Prepared, verb: &str) -> Result<(), Report> {
    let Some(session) = sessions.0.get_mut(&found.node) else { return Ok(()) };
    let gid = quote_literal(found.gid.to_string());
    match session.rows(&format!("{verb} PREPARED {gid}")) {
        // A backend was faster.
        Err(report) if report.code == PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT => Ok(()),
        other => other.map(drop),
    }
}

/// What became of a transaction of this node.
fn outcome_of(xid: u64) -> LocalOutcome {
    // SAFETY: both read shared memory. An id that is older than the running
    // ones of its epoch is over, whatever its low 32 bits stand for now.
    unsafe {
        let next = pg_sys::ReadNextFullTransactionId().value;
        if xid >= next {
            return LocalOutcome::Unknown;
        }
        let is_recent = next - xid < u64::from(u32::MAX / 2);
        let low = pg_sys::TransactionId::from(xid as u32);
        if is_recent && pg_sys::TransactionIdIsInProgress(low) {
            LocalOutcome::InProgress
        } else {
            LocalOutcome::Over
        }
    }
}

/// The decision rows that are committed now: xid and participants.
fn decisions() -> Result<Vec<(u64, Vec<NodeId>)>, Report> {
    let rows = read_latest(
        catalog(c"commit_decision")?,
        "SELECT xid, pg_catalog.array_to_json(participants) FROM shardman.commit_decision",
    )?;
    let read = |row: Vec<Option<String>>| {
        let xid: i64 = row.first()?.as_deref()?.parse().ok()?;
        let nodes: Vec<u32> = serde_json::from_str(row.get(1)?.as_deref()?).ok()?;
        Some((xid as u64, nodes.into_iter().map(NodeId).collect()))
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

fn forget(settled: Vec<i64>) -> Result<(), Report> {
    if settled.is_empty() {
        return Ok(());
    }
    let _acting = ActingAs::owner_of_the_catalogs();
    Ok(Spi::run_with_args(
        "DELETE FROM shardman.commit_decision WHERE xid OPERATOR(pg_catalog.=) ANY ($1)",
        &[settled.into()],
    )?)
}
