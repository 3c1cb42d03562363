//! Whether this node may serve managed tables: it has applied everything that
//! was decided before it was started, or while it was down, and it has not been
//! cut off since.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pgrx::prelude::*;
use raft::{RaftState, Request, Response};

use super::other_work::is_ours;
use crate::catalog::registry;
use crate::ddl::{is_leaf_schema, relation_of};
use crate::lists::elements;
use crate::report::Report;
use crate::settings;
use crate::shared_memory::standing;
use crate::worker;

/// How long a statement waits for a node that has just been started.
const PATIENCE: Duration = Duration::from_secs(10);
/// For a majority to confirm again what it has not for too long: about what the
/// loss of a leader takes to be mended.
const PATIENCE_CUT_OFF: Duration = Duration::from_secs(3);
/// And for one that has changes to apply, which may want what the statement has
/// locked: most often the last ones.
const PATIENCE_BEHIND: Duration = Duration::from_secs(1);
/// Between two looks, in milliseconds: the queue's worker is another process.
const PAUSE_MS: i64 = 20;

/// For a server that its cluster does not take any more.
pub const REJOIN: &str = "Run shardman.leave_cluster() here to forget the cluster, and on another node shardman.rm_node(id, force => true) if it still lists this one; then the server may join again as a new node.";

/// In shared memory; all zeroes at the server's start.
pub struct Standing {
    /// A [`Serving`].
    serving: AtomicU32,
    /// The last number that was given to a request for the right to change the
    /// schema.
    requests: AtomicU64,
    /// When the lease ends, in milliseconds of [`now`]; 0 if none was given,
    /// [`NEVER`] if none is needed.
    lease_until: AtomicU64,
}

const NEVER: u64 = u64::MAX;

/// What a node may do with managed tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// Started: it does not know yet what a majority has decided meanwhile.
    Unconfirmed = 0,
    /// It knows, and has changes to apply.
    Behind = 1,
    /// Everything.
    Yes = 2,
}

/// A number for a request, from 1 on and unique in this life of the server.
pub fn next_request() -> u64 {
    standing().map_or(0, |standing| standing.requests.fetch_add(1, Ordering::Relaxed)) + 1
}

/// What this node may do now.
pub fn serving() -> Serving {
    match standing().map_or(2, |standing| standing.serving.load(Ordering::Acquire)) {
        0 => Serving::Unconfirmed,
        1 => Serving::Behind,
        _ => Serving::Yes,
    }
}

/// Whether the others have recognised this server since its start.
pub fn is_confirmed() -> bool {
    serving() != Serving::Unconfirmed
}

/// Whether it may do everything: a look at shared memory and at the clock.
pub fn is_serving() -> bool {
    serving() == Serving::Yes && has_lease()
}

/// Whether a majority has confirmed lately that this node is one of them.
fn has_lease() -> bool {
    if settings::lease_timeout().is_some_and(|lease| lease.is_zero()) {
        return true;
    }
    standing().is_none_or(|standing| now() < standing.lease_until.load(Ordering::Acquire))
}

/// Whether it has just been started and not heard of a majority yet.
fn is_new() -> bool {
    let has_never_had_a_lease =
        || standing().is_some_and(|standing| standing.lease_until.load(Ordering::Acquire) == 0);
    match serving() {
        Serving::Unconfirmed => true,
        Serving::Behind => false,
        Serving::Yes => !has_lease() && has_never_had_a_lease(),
    }
}

/// For the metadata worker's other thread: the lease has been renewed, or none is
/// needed.
pub fn renew_lease(until: Option<Instant>) {
    let end = until.map_or(NEVER, |until| {
        now() + until.saturating_duration_since(Instant::now()).as_millis() as u64
    });
    if let Some(standing) = standing() {
        standing.lease_until.store(end, Ordering::Release);
    }
}

/// Milliseconds of a clock that all processes of this server read alike.
fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a plain libc call on a local variable.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// For the queue: what this node may do from now on.
pub fn set(serving: Serving) {
    if let Some(standing) = standing() {
        standing.serving.store(serving as u32, Ordering::Release);
    }
}

/// This server has just become a member: what is decided from now on reaches
/// it, and the schema of before comes from a member before it is active.
pub fn begin_to_serve() {
    set(Serving::Yes);
}

/// Refuses a statement on managed tables while this node has not caught up. A
/// statement has locked its tables by now, and what is to be applied may want
/// them: so it waits little once the node knows what that is.
///
/// # Safety
/// `statement` is about to be started.
pub unsafe fn check_query(statement: *mut pg_sys::QueryDesc) -> Result<(), Report> {
    if is_serving() || is_ours() || !crate::in_cluster_database() {
        return Ok(());
    }
    // SAFETY: the caller's; a valid plan whose range table holds RangeTblEntry
    // nodes.
    let relations = unsafe {
        elements::<pg_sys::RangeTblEntry>((*(*statement).plannedstmt).rtable)
            .filter(|entry| (**entry).rtekind == pg_sys::RTEKind::RTE_RELATION)
            .map(|entry| (*entry).relid)
            .collect()
    };
    check_relations(relations)
}

/// The same for COPY and TRUNCATE, which no executor starts.
///
/// # Safety
/// `statement` is a valid utility statement.
pub unsafe fn check_utility(statement: *mut pg_sys::Node) -> Result<(), Report> {
    use pg_sys::NodeTag;
    if is_serving() || is_ours() {
        return Ok(());
    }
    // SAFETY: the caller's; each arm casts to the struct that the tag names, and
    // the grammar makes lists of RangeVar.
    let relations = unsafe {
        match (*statement).type_ {
            NodeTag::T_CopyStmt => {
                relation_of((*statement.cast::<pg_sys::CopyStmt>()).relation).into_iter().collect()
            }
            NodeTag::T_TruncateStmt => {
                let truncate: *mut pg_sys::TruncateStmt = statement.cast();
                elements::<pg_sys::RangeVar>((*truncate).relations)
                    .filter_map(|range| relation_of(range))
                    .collect()
            }
            _ => return Ok(()),
        }
    };
    check_relations(relations)
}

fn check_relations(relations: Vec<pg_sys::Oid>) -> Result<(), Report> {
    let registry = registry()?;
    // A table with a log asks the majority itself, and may be read without one; it
    // needs no lease, but the schema.
    let has_schema = serving() == Serving::Yes;
    let is_managed = relations.into_iter().any(|rel| {
        registry.table_of(rel).is_some()
            || is_leaf_schema(rel)
            || (registry.replicated_of(rel).is_some()
                && !(has_schema && registry.logged_of(rel).is_some()))
    });
    if is_managed { wait_until_served() } else { Ok(()) }
}

/// A server that was removed from its cluster, or restored from an old copy,
/// waits in vain.
fn check_membership() -> Result<(), Report> {
    if serving() == Serving::Yes {
        return Ok(());
    }
    let Ok(Ok(Response::Status(status))) = worker::try_ask(&Request::Status) else {
        // Whatever is the matter with the log, that the node does not serve is told.
        return Ok(());
    };
    match status.state {
        RaftState::Barred(reason) => Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "this server does not serve sharded and replicated tables any more",
        )
        .detail(format!("Reason: {reason}."))
        .hint(REJOIN)),
        _ => Ok(()),
    }
}

/// Waits, bounded, until this node may do everything; an error if it may not.
pub fn wait_until_served() -> Result<(), Report> {
    check_membership()?;
    let begun = Instant::now();
    let goes_on = || {
        let patience = match (is_new(), serving()) {
            (true, _) => PATIENCE,
            (false, Serving::Behind) => PATIENCE_BEHIND,
            _ if has_lease() => Duration::ZERO,
            _ => PATIENCE_CUT_OFF,
        };
        begun.elapsed() < patience
    };
    while goes_on() {
        // SAFETY: this process's latch.
        unsafe {
            let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
            pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, PAUSE_MS, pg_sys::PG_WAIT_EXTENSION);
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
        pgrx::check_for_interrupts!();
    }
    check_membership()?;
    let why = match serving() {
        Serving::Yes if has_lease() => return Ok(()),
        Serving::Yes => {
            "No majority of the nodes has confirmed lately that this node is one of them."
        }
        Serving::Unconfirmed => {
            "It was started, and no majority of the nodes has confirmed that its schema is current."
        }
        Serving::Behind => "It applies changes of the schema that were made while it was away.",
    };
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        "this node does not serve sharded and replicated tables yet",
    )
    .detail(why)
    .hint("Retry the transaction; shardman.nodes and shardman.ddl_failure show what the node waits for."))
}
