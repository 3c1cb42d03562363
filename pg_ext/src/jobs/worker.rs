//! The dynamic worker: one job's driver on this node, or its task here.
#![allow(unsafe_code)]

use cluster::jobs::{JobId, Role, Running};
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, DynamicBackgroundWorker};
use pgrx::prelude::*;

use super::{driving, task, work};
use crate::settings;

/// As `pg_stat_activity.backend_type` shows it.
pub const TYPE: &str = "shardman job worker";
/// Sets our locks apart from those that SQL can take, which have 1 and 2 there.
const LOCK_CLASS: u16 = 7;

unsafe extern "C-unwind" {
    /// Not the guarded binding of pgrx: it runs in a signal handler.
    #[link_name = "die"]
    fn die_raw(signal: i32);
}

/// Starts one; `None` if the server has no worker to spare.
pub fn start(worker: Running) -> Option<DynamicBackgroundWorker> {
    let part = match worker.role {
        Role::Driver { attempt } => format!("driver {} {attempt}", worker.job),
        Role::Task { round } => format!("task {} {round}", worker.job),
    };
    let builder = BackgroundWorkerBuilder::new(&format!("shardman job {} {part}", worker.job))
        .set_type(TYPE)
        .set_library("shardman")
        .set_function("shardman_job_main")
        .enable_spi_access()
        .set_extra(&part)
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

fn read_part(part: &str) -> Option<Running> {
    let mut words = part.split(' ');
    let (role, job, number) = (words.next()?, words.next()?, words.next()?);
    let (job, number) = (JobId(job.parse().ok()?), number.parse().ok()?);
    let role = match role {
        "driver" => Role::Driver { attempt: number },
        "task" => Role::Task { round: number },
        _ => return None,
    };
    Some(Running { job, role })
}

#[allow(missing_docs)]
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn shardman_job_main(_argument: pg_sys::Datum) {
    // SAFETY: signals are still blocked. SIGTERM is heeded wherever a backend
    // heeds it, also deep in an index build.
    unsafe {
        pg_sys::pqsignal(pg_sys::SIGTERM as i32, Some(die_raw));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
    BackgroundWorker::connect_worker_to_spi(Some(&settings::database()), None);
    let Some(Running { job, role }) = read_part(BackgroundWorker::get_extra()) else { return };
    let done = work::outside(|| {
        lock(job, role);
        match role {
            Role::Driver { attempt } => driving::drive(job, attempt),
            Role::Task { round } => task::run(job, round),
        }
    });
    if let Err(report) = done {
        log!("shardman: worker of job {job} ended: {}", report.message);
    }
}

/// Waits until no other worker of this server has the same part: one whose
/// launcher was lost.
fn lock(job: JobId, role: Role) {
    let part = match role {
        Role::Driver { .. } => 1,
        Role::Task { .. } => 2,
    };
    // SAFETY: a guarded call that answers to SIGTERM; the lock is this
    // process's until it ends.
    unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: job.0 as u32,
            locktag_field3: part,
            locktag_field4: LOCK_CLASS,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        };
        pg_sys::StartTransactionCommand();
        pg_sys::LockAcquire(&tag, pg_sys::ExclusiveLock as i32, true, false);
        pg_sys::CommitTransactionCommand();
    }
}
