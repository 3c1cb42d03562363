//! The SQL-callable functions of locks and deadlocks.
#![allow(unsafe_code)]

use cluster::NodeId;
use cluster::deadlock::{Coordinator, Holder, WaitGraph};
use pgrx::prelude::*;

use super::round::Observers;
use super::{place, victim};
use crate::catalog::registry;
use crate::compat;
use crate::report::{OrRaise, Report};
use crate::shared_memory::places;

/// Notes for whom this session works. Only the other end of a node session may
/// say so.
#[pg_extern(sql = false)]
fn serve(node_id: i32, pid: i32, started: i64) {
    check_is_member(NodeId(node_id.unsigned_abs())).or_raise();
    place::serve(Coordinator { node: NodeId(node_id.unsigned_abs()), pid, started });
}

/// A server that was removed from the cluster may still have its credential.
fn check_is_member(node: NodeId) -> Result<(), Report> {
    let registry = registry()?;
    // Before the first list of members has come nobody is refused.
    if registry.members().is_empty() || registry.member(node).is_some() {
        return Ok(());
    }
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_SQLSERVER_REJECTED_ESTABLISHMENT_OF_SQLCONNECTION,
        format!("node {node} was removed from the cluster"),
    )
    .hint("To join again, run shardman.leave_cluster() there, drop and create the extension, and add the server as a new node."))
}

/// What backends tell of themselves: the nodes that each one's transaction has
/// turned to, and for whom it works.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn backend_places() -> TableIterator<
    'static,
    (
        name!(pid, i32),
        name!(coordinates, Vec<i32>),
        name!(node_id, Option<i32>),
        name!(coordinator, Option<i32>),
        name!(started, Option<i64>),
    ),
> {
    let mut rows = Vec::new();
    // SAFETY: the first PGPROCs are the backends', as many as there are places;
    // what is read of them may change any time.
    unsafe {
        let processes = (*pg_sys::ProcGlobal).allProcs;
        for at in 0..places().len() {
            let process = processes.add(at);
            let (pid, transaction) = ((*process).pid, compat::transaction_of(process));
            let Some(place) = places().get(compat::process_number(process)) else { continue };
            if pid == 0 || transaction == 0 {
                continue;
            }
            let nodes = place.coordinates(transaction).into_iter().map(|node| node as i32);
            let serves = place.serves(pid);
            rows.push((
                pid,
                nodes.collect(),
                serves.map(|c| c.node.0 as i32),
                serves.map(|c| c.pid),
                serves.map(|c| c.started),
            ));
        }
    }
    TableIterator::new(rows)
}

/// Ends a wait for a lock with a deadlock's error.
#[pg_extern(sql = false)]
fn end_wait(pid: i32, since: i64, detail: &str) -> bool {
    victim::end_wait(pid, since, detail)
}

/// What each node answers to a question about it; nodes that cannot be reached
/// are left out with a WARNING. The questions are fixed: everyone may ask.
#[pg_extern(sql = false)]
fn on_all_nodes(
    question: &str,
) -> TableIterator<'static, (name!(node_id, i32), name!(answer, pgrx::JsonB))> {
    let query = match question {
        "counters" => "SELECT shardman.local_transaction_counters()::pg_catalog.text",
        "transactions" => "SELECT shardman.local_transactions()::pg_catalog.text",
        "moves" => "SELECT shardman.local_moves()::pg_catalog.text",
        "leftovers" => "SELECT shardman.local_leftovers()::pg_catalog.text",
        "health" => "SELECT shardman.local_health()::pg_catalog.text",
        _ => {
            let code = PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE;
            Report::new(code, format!("unrecognized question \"{question}\"")).raise()
        }
    };
    let all = Observers::default().ask_all(query).or_raise();
    all.troubles.iter().for_each(|trouble| warning!("{trouble}"));
    let answers = all.answers.into_iter().map(|(node, text)| {
        let answer = serde_json::from_str(&text).unwrap_or_default();
        (node.0 as i32, pgrx::JsonB(answer))
    });
    TableIterator::new(answers)
}

type Edge = (
    name!(waiter, String),
    name!(waiter_node, i32),
    name!(waiter_pid, i32),
    name!(blocker, String),
    name!(blocker_node, i32),
    name!(blocker_pid, i32),
    name!(node, i32),
    name!(pid, i32),
    name!(holder, String),
    name!(mode, String),
    name!(object, String),
    name!(relation, Option<String>),
    name!(since, Option<TimestampWithTimeZone>),
);

/// Who waits for whom, over all nodes.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn all_lock_waits() -> TableIterator<
    'static,
    (
        name!(waiter, String),
        name!(waiter_node, i32),
        name!(waiter_pid, i32),
        name!(blocker, String),
        name!(blocker_node, i32),
        name!(blocker_pid, i32),
        name!(node, i32),
        name!(pid, i32),
        name!(holder, String),
        name!(mode, String),
        name!(object, String),
        name!(relation, Option<String>),
        name!(since, Option<TimestampWithTimeZone>),
    ),
> {
    let round = Observers::default().look().or_raise();
    round.troubles.iter().for_each(|trouble| warning!("{trouble}"));
    let graph = WaitGraph::join(&round.reports);
    let rows: Vec<Edge> = graph
        .edges()
        .iter()
        .map(|edge| {
            let holder = match &edge.holder {
                Holder::Process(pid, _) => format!("process {pid}"),
                Holder::Prepared(gid) => format!("prepared transaction {gid}"),
            };
            let since = TimestampWithTimeZone::try_from(edge.since - victim::EPOCH).ok();
            (
                edge.waiter.to_string(),
                edge.waiter.node.0 as i32,
                edge.waiter.pid,
                edge.blocker.to_string(),
                edge.blocker.node.0 as i32,
                edge.blocker.pid,
                edge.at.0 as i32,
                edge.pid,
                holder,
                edge.mode.clone(),
                edge.object.clone(),
                edge.relation.clone(),
                since,
            )
        })
        .collect();
    TableIterator::new(rows)
}
