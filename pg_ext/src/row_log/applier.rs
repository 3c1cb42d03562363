//! The worker of one log on one node: it brings entries into the tables, in
//! order, and tells the log how far it is.
#![allow(unsafe_code)]

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cluster::NodeId;
use cluster::metadata::MetadataCommand;
use cluster::row_log::{Accepted, RowLogCommand, RowLogId, RowLogPosition, Settled};
use cluster::txn::TransactionName;
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, DynamicBackgroundWorker};
use pgrx::prelude::*;
use raft::{Request, Response};

use super::memory::{self, Slot};
use super::refusal::unexpected;
use super::{buffer, copy, position};
use crate::catalog::{ActingAs, Member, forget_registry, is_installed, last_table_id, registry};
use crate::jobs::{in_transaction, outside, pause};
use crate::membership::my_identity_if_any;
use crate::recovery::present_life;
use crate::replicated::apply_own;
use crate::report::Report;
use crate::settings;
use crate::worker;

/// As `pg_stat_activity.backend_type` shows it.
pub const TYPE: &str = "shardman log worker";
/// Sets our locks apart from those that SQL can take, which have 1 and 2 there.
const LOCK_CLASS: u16 = 8;
/// For one look at the log.
const WATCH_MS: u64 = 500;
/// For the word on how a transaction of this node ended, which is on its way.
const SETTLED_MS: u64 = 20;
/// Entries that are brought about in one transaction.
const BATCH_ENTRIES: usize = 100;
/// The log is told how far this node is when so many entries wait for that, or
/// after this time.
const REPORT_ENTRIES: u64 = 500;
const REPORT_AFTER: Duration = Duration::from_millis(1000);
/// Before trying again what has failed.
const AGAIN: Duration = Duration::from_millis(500);

unsafe extern "C-unwind" {
    /// Not the guarded binding of pgrx: it runs in a signal handler.
    #[link_name = "die"]
    fn die_raw(signal: i32);
}

/// Starts the worker of a log; `None` if the server has none to spare.
pub fn start(log: RowLogId) -> Option<DynamicBackgroundWorker> {
    let builder = BackgroundWorkerBuilder::new(&format!("shardman log {log}"))
        .set_type(TYPE)
        .set_library("shardman")
        .set_function("shardman_row_log_main")
        .enable_spi_access()
        .set_extra(&log.to_string())
        .set_restart_time(None)
        // SAFETY: reads a variable of the process.
        .set_notify_pid(unsafe { pg_sys::MyProcPid });
    // SAFETY: the handle must outlive every transaction.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let started = builder.load_dynamic();
        pg_sys::MemoryContextSwitchTo(before);
        started.ok()
    }
}

#[allow(missing_docs)]
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn shardman_row_log_main(_argument: pg_sys::Datum) {
    // SAFETY: signals are still blocked. SIGTERM is heeded wherever a backend
    // heeds it, also while it waits for a lock.
    unsafe {
        pg_sys::pqsignal(pg_sys::SIGTERM as i32, Some(die_raw));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
    BackgroundWorker::connect_worker_to_spi(Some(&settings::database()), None);
    // A snapshot of the cluster is not about what was committed elsewhere.
    crate::gate::pass_freely();
    // SAFETY: the worker's own variable: the log has everything that a crash
    // would lose.
    unsafe { pg_sys::synchronous_commit = pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_OFF as i32 };
    let Ok(log) = BackgroundWorker::get_extra().parse().map(RowLogId) else { return };
    let Some(slot) = memory::slot(log) else { return };
    let mut applier =
        Applier { log, slot, seen: RowLogPosition::default(), reported: None, trouble: None };
    let begun = outside(|| {
        lock(log);
        Ok(())
    })
    .and_then(|()| in_transaction(|| position::applied(log)));
    match begun {
        Ok(at) => memory::advance(log, at.unwrap_or_default()),
        Err(report) => return log!("shardman: log {log} is not applied: {}", report.message),
    }
    // SAFETY: reads a variable of the process.
    slot.worker.store(unsafe { pg_sys::MyProcPid }, Ordering::Release);
    while applier.pass() {}
    slot.worker.store(0, Ordering::Release);
}

/// Waits until no other worker of this server has the log: one whose launcher was
/// lost.
fn lock(log: RowLogId) {
    // SAFETY: a guarded call that answers to SIGTERM; the lock is this process's
    // until it ends.
    unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: log.0,
            locktag_field3: 0,
            locktag_field4: LOCK_CLASS,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        };
        pg_sys::StartTransactionCommand();
        pg_sys::LockAcquire(&raw const tag, pg_sys::ExclusiveLock as i32, true, false);
        pg_sys::CommitTransactionCommand();
    }
}

struct Applier {
    log: RowLogId,
    slot: &'static Slot,
    /// Everything up to here is applied and known to be settled: a transaction of
    /// this node is applied before the log knows how it ended.
    seen: RowLogPosition,
    reported: Option<(RowLogPosition, Instant)>,
    /// What the log was told last.
    trouble: Option<String>,
}

impl Applier {
    /// Waits for entries and brings them about. False if the log is gone.
    fn pass(&mut self) -> bool {
        let done = self.look();
        self.slot.busy_since.store(0, Ordering::Release);
        match done {
            Ok(goes_on) => goes_on,
            Err(report) => {
                let message = match &report.detail {
                    Some(detail) => format!("{}: {detail}", report.message),
                    None => report.message.clone(),
                };
                self.note_trouble(Some(message));
                outside(|| {
                    pause(AGAIN);
                    Ok(())
                })
                .ok();
                true
            }
        }
    }

    fn look(&mut self) -> Result<bool, Report> {
        let Some(identity) = my_identity_if_any()? else { return Ok(false) };
        let me = identity.node_id;
        let own = in_transaction(|| {
            forget_registry();
            Ok(if is_installed() { registry()?.member(me).cloned() } else { None })
        })?;
        let Some(own) = own else { return Ok(false) };
        let after = self.seen;
        let is_settled = after >= memory::position(self.log);
        let limit_ms = if is_settled { WATCH_MS } else { SETTLED_MS };
        let request = Request::RowEntries { log: self.log, after, limit_ms };
        let (truncated, entries) = match outside(|| worker::ask(&request))? {
            Response::RowEntries { is_gone: true, .. } => return Ok(false),
            Response::RowEntries { truncated, entries, .. } => (truncated, entries),
            other => return Err(unexpected(other)),
        };
        // What is gone is settled.
        self.seen = self.seen.max(truncated.min(memory::position(self.log)));
        if truncated > memory::position(self.log) {
            outside(|| copy::fetch(self.log, &own))?;
        } else {
            self.bring_about(entries, &own)?;
        }
        self.note_trouble(None);
        self.report(me)?;
        Ok(true)
    }

    fn bring_about(
        &mut self,
        entries: Vec<(RowLogPosition, Accepted)>,
        own: &Member,
    ) -> Result<(), Report> {
        let mut batch: Vec<(RowLogPosition, Accepted)> = Vec::new();
        for (at, accepted) in entries {
            let is_own = accepted.transaction.coordinator == own.id;
            if is_own || accepted.settled == Settled::Pending || batch.len() == BATCH_ENTRIES {
                self.apply(std::mem::take(&mut batch))?;
            }
            if at <= memory::position(self.log) {
                if accepted.settled == Settled::Pending {
                    if is_own {
                        // What was lost on the way to the log.
                        settle(accepted.transaction, own.id, true)?;
                    }
                    return Ok(());
                }
                self.seen = at;
                continue;
            }
            if is_own && self.is_done(at, &accepted)? {
                memory::advance(self.log, at);
                self.seen = at;
                continue;
            }
            if accepted.settled == Settled::Pending {
                let coordinator = accepted.transaction.coordinator;
                let is_gone = || {
                    in_transaction(|| {
                        forget_registry();
                        Ok(registry()?.member(coordinator).is_none())
                    })
                };
                // Its transaction has ended and is not here; or nobody will ever
                // say how it ended.
                if is_own || is_gone()? {
                    settle(accepted.transaction, own.id, false)?;
                }
                return Ok(());
            }
            batch.push((at, accepted));
        }
        self.apply(batch)
    }

    /// Whether a transaction of this node has brought its own entry about. Waits
    /// for one that is at it.
    fn is_done(&self, at: RowLogPosition, accepted: &Accepted) -> Result<bool, Report> {
        let transaction = accepted.transaction;
        if transaction.life == present_life() {
            in_transaction(|| {
                // SAFETY: an id of this server's present life; the guarded call
                // answers to SIGTERM.
                unsafe {
                    pg_sys::XactLockTableWait(
                        pg_sys::TransactionId::from(transaction.xid as u32),
                        std::ptr::null_mut(),
                        std::ptr::null_mut(),
                        pg_sys::XLTW_Oper::XLTW_None,
                    );
                }
                Ok(())
            })?;
        }
        let applied = in_transaction(|| position::applied(self.log))?.unwrap_or_default();
        if applied < at {
            return Ok(false);
        }
        if accepted.settled == Settled::Pending {
            // What was lost on the way to the log.
            settle(transaction, transaction.coordinator, true)?;
        }
        Ok(true)
    }

    /// Brings entries about in one transaction.
    fn apply(&mut self, entries: Vec<(RowLogPosition, Accepted)>) -> Result<(), Report> {
        let Some((last, _)) = entries.last() else { return Ok(()) };
        let last = *last;
        self.slot.busy_since.store(memory::now().max(1), Ordering::Release);
        in_transaction(|| {
            for (at, accepted) in &entries {
                if accepted.settled == Settled::Committed {
                    make(accepted)?;
                }
                // Only the last is of use.
                if *at == last {
                    position::note(self.log, *at)?;
                }
            }
            Ok(())
        })?;
        self.slot.busy_since.store(0, Ordering::Release);
        memory::advance(self.log, last);
        self.seen = self.seen.max(last);
        Ok(())
    }

    /// Tells the log how far this node is, for good.
    fn report(&mut self, me: NodeId) -> Result<(), Report> {
        let at = memory::position(self.log);
        let is_due = match self.reported {
            None => true,
            Some((reported, when)) => {
                let behind = at.0.saturating_sub(reported.0);
                behind >= REPORT_ENTRIES || (behind > 0 && when.elapsed() >= REPORT_AFTER)
            }
        };
        if !is_due {
            return Ok(());
        }
        // SAFETY: guarded; what is committed up to now is before this place.
        unsafe { pg_sys::XLogFlush(pg_sys::GetXLogInsertRecPtr()) };
        let positions = vec![(self.log, at)];
        propose(RowLogCommand::NoteApplied { node: me, positions })?;
        self.reported = Some((at, Instant::now()));
        in_transaction(|| position::clear(self.log, at))
    }

    /// Shows why this node does not go on, or that it does.
    fn note_trouble(&mut self, message: Option<String>) {
        if self.trouble == message {
            return;
        }
        if let Some(message) = &message {
            warning!("shardman: log {} is not being applied: {message}", self.log);
        }
        let Ok(Some(identity)) = my_identity_if_any() else { return };
        let (node, log) = (identity.node_id, self.log);
        // Without a majority it is told when there is one.
        let told = propose(RowLogCommand::NoteTrouble { node, log, message: message.clone() });
        if told.is_ok() {
            self.trouble = message;
        }
    }
}

/// Makes the changes of an entry, each table's as its owner.
fn make(accepted: &Accepted) -> Result<(), Report> {
    for (table, bytes) in buffer::pieces(&accepted.part.changes.0)? {
        let footprint = accepted.part.footprint.tables.iter().find(|it| it.table == table);
        let known = registry()?.replicated(table);
        let Some(known) = known else {
            if table <= last_table_id()? {
                // It was dropped since.
                continue;
            }
            return Err(not_yet("A table of the entry has not been made here."));
        };
        if footprint.is_some_and(|it| it.shape > known.shape) {
            return Err(not_yet("A table of the entry is to be changed here first."));
        }
        // SAFETY: a registered table exists; opened and closed.
        let owner = unsafe {
            let relation = pg_sys::table_open(known.rel, pg_sys::AccessShareLock as i32);
            let owner = (*(*relation).rd_rel).relowner;
            pg_sys::table_close(relation, pg_sys::NoLock as i32);
            owner
        };
        let _acting = ActingAs::user(owner);
        apply_own(table, bytes)?;
        // SAFETY: what comes next sees it.
        unsafe { pg_sys::CommandCounterIncrement() };
    }
    Ok(())
}

fn not_yet(why: &str) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "the log waits for a change of the schema",
    )
    .detail(why)
}

fn settle(transaction: TransactionName, by: NodeId, is_committed: bool) -> Result<(), Report> {
    propose(RowLogCommand::Settle { transaction, by, is_committed })
}

fn propose(command: RowLogCommand) -> Result<(), Report> {
    let request = Request::Propose(MetadataCommand::RowLog(command));
    outside(|| worker::ask(&request)).map(drop)
}
