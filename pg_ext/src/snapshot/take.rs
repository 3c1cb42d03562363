//! Taking a snapshot of the cluster. The rule is in `cluster::txn`.
//!
//! PostgreSQL fixes a transaction's snapshot before any hook of its first
//! statement runs, so it is taken as soon as REPEATABLE READ is in force: after
//! BEGIN, or after SET TRANSACTION.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use cluster::NodeId;
use cluster::txn::{Attempt, Closing, GateRequest, SnapshotAttempts, is_still_closed};
use fdw::session::Everywhere;
use pgrx::prelude::*;

use super::current::{Current, current, isolation, remember};
use crate::catalog::{is_installed, registry};
use crate::node_session::{GATE, is_node_session};
use crate::report::Report;
use crate::{gate, membership, settings};

/// Whether BEGIN or SET TRANSACTION may have to take one.
pub fn is_wanted() -> bool {
    // SAFETY: reads backend state.
    let is_backend = unsafe { pg_sys::MyBackendType == pg_sys::BackendType::B_BACKEND };
    is_backend && settings::global_snapshot() && !is_node_session()
}

/// After BEGIN or SET TRANSACTION has run. `is_top` as ProcessUtility has it: in
/// a procedure a transaction may begin without a block.
pub fn after_setting(is_import: bool, is_top: bool) -> Result<(), Report> {
    // SAFETY: reads backend state.
    let (is_block, has_snapshot, is_standby) = unsafe {
        (pg_sys::IsTransactionBlock(), pg_sys::FirstSnapshotSet, pg_sys::RecoveryInProgress())
    };
    if is_import {
        remember(Current::Imported);
        return Ok(());
    }
    if isolation() != pg_sys::XACT_REPEATABLE_READ
        || current() != Current::Local
        || has_snapshot
        || (is_top && !is_block)
        || is_standby
        || !is_installed()
    {
        return Ok(());
    }
    let Some(identity) = membership::my_identity_if_any()? else { return Ok(()) };
    let me = identity.node_id;
    let registry = registry()?;
    let active = registry.members().iter().filter(|member| member.is_active && member.id != me);
    let others: Vec<NodeId> = active.map(|member| member.id).collect();
    // Noted first: the remote transactions begin while it is taken, and if that
    // fails, the local one is over.
    remember(Current::Cluster(others.as_slice().into()));
    if others.is_empty() {
        return Ok(());
    }
    take(me, &others)
}

/// The nodes in the order in which their gates are closed.
struct Nodes {
    /// The lowest id; `None` if that is this node.
    turnstile: Option<Everywhere>,
    rest: Everywhere,
    all: Everywhere,
}

fn take(me: NodeId, others: &[NodeId]) -> Result<(), Report> {
    // All sessions are opened at once; the others find them open.
    let all = Everywhere::open(others)?;
    let nodes = match others {
        [lowest, rest @ ..] if *lowest < me => Nodes {
            turnstile: Some(Everywhere::open(&[*lowest])?),
            rest: Everywhere::open(rest)?,
            all,
        },
        _ => Nodes { turnstile: None, rest: Everywhere::open(others)?, all },
    };
    let mut attempts = SnapshotAttempts::default();
    let mut last = None;
    while let Some(attempt) = attempts.next_attempt() {
        pause(attempt.pause);
        match nodes.try_once(attempt) {
            Ok(()) => return Ok(()),
            Err(report) if report.code == PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE => {
                gate::open();
                nodes.all.roll_back()?;
                last = Some(report);
            }
            Err(report) => return Err(report),
        }
    }
    let reason = last.map_or(String::new(), |report| match report.detail {
        Some(detail) => format!("{}: {detail}", report.message),
        None => report.message,
    });
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        "could not take a snapshot of the cluster in time",
    )
    .detail(reason)
    .hint("Run the transaction again. Look at shardman.in_doubt on all nodes if this persists."))
}

impl Nodes {
    /// One attempt: closes all gates, takes a snapshot on each node, opens them.
    /// `lock_not_available` if it may be tried again.
    fn try_once(&self, attempt: Attempt) -> Result<(), Report> {
        let closing =
            |is_turnstile| Closing { is_turnstile, drain: attempt.drain, lease: attempt.lease };
        let ask = |request: GateRequest| format!("SET {GATE} TO '{request}'");
        let asked = Instant::now();
        match &self.turnstile {
            None => gate::close(closing(true))?,
            Some(node) => node.send(&ask(GateRequest::Close(closing(true))))?.collect()?,
        }
        let close = ask(GateRequest::Close(closing(false)));
        let sent = self.rest.send(&close)?;
        // While the others close theirs.
        let closed_here = match self.turnstile {
            None => Ok(()),
            Some(_) => gate::close(closing(false)),
        };
        let closed_there = sent.collect();
        closed_here?;
        closed_there?;
        // The first statement that needs a snapshot fixes it.
        self.all.send("SELECT 1")?.collect()?;
        if !is_still_closed(asked.elapsed(), attempt.lease) {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
                "the nodes did not answer in time",
            ));
        }
        // SAFETY: guarded; the first call in a transaction at this level fixes
        // its snapshot.
        unsafe { pg_sys::GetTransactionSnapshot() };
        self.all.tell(&ask(GateRequest::Open))?;
        gate::open();
        Ok(())
    }
}

/// Lets commits through between two attempts.
fn pause(time: Duration) {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        // SAFETY: guarded waits on this process's own latch.
        unsafe {
            let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
            let millis = left.as_millis() as std::ffi::c_long + 1;
            pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, millis, pg_sys::PG_WAIT_EXTENSION);
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
        pg_sys::check_for_interrupts!();
    }
}
