//! The worker's main thread.
#![allow(unsafe_code)]

use crossbeam_channel::Receiver;
use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;
use raft::{Event, Level};

use super::applier::Applier;
use super::process;
use super::wake_up::WakeUp;
use crate::{membership, recovery, schema_change, settings};

/// What could not be applied is tried again after this time, in milliseconds.
const RETRY_AFTER_MS: i64 = 1000;

/// Registers the worker. Called while the library is preloaded.
pub fn register() {
    process::register("shardman metadata worker", "shardman_worker_main");
}

#[allow(missing_docs)]
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn shardman_worker_main(_argument: pg_sys::Datum) {
    process::begin();
    let (mut wake_up, ring) = match WakeUp::new() {
        Ok(pair) => pair,
        Err(error) => error!("could not create a socket pair: {error}"),
    };
    let (sender, events) = crossbeam_channel::unbounded();
    let mut config = raft::Config::new(
        membership::folder(),
        membership::system_identifier(),
        sender,
        Box::new(ring),
    );
    if let Err(error) = recovery::ensure_entered() {
        error!("could not enter this start of the server in a file: {error}");
    }
    config.life = recovery::present_life();
    config.remembers = Box::new(|life| recovery::is_remembered(life).unwrap_or(false));
    config.is_wanted = Box::new(schema_change::is_wanted);
    config.renew_lease = Box::new(schema_change::renew_lease);
    let limits = config.limits.clone();
    limits.set_lease(settings::lease_timeout());
    limits.set_node_timeout(settings::node_timeout());
    let spawned = with_signals_blocked(|| raft::spawn(config));
    let thread = match spawned {
        Ok(thread) => thread,
        Err(error) => error!("could not start the metadata log: {error}"),
    };
    let mut applier = Applier::default();
    while !process::is_told_to_end() && !thread.is_finished() {
        wake_up.clear();
        if BackgroundWorker::sighup_received() {
            // SAFETY: between transactions, in the main loop.
            unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
            limits.set_node_timeout(settings::node_timeout());
            limits.set_lease(settings::lease_timeout());
        }
        if let Err(reason) = take_events(&events, &mut applier) {
            stop(thread);
            error!("the metadata log failed: {reason}");
        }
        let timeout = applier.apply_pending().then_some(RETRY_AFTER_MS);
        wait(&wake_up, timeout);
    }
    stop(thread);
}

fn stop(thread: raft::RaftThread) {
    if let Err(reason) = thread.shutdown() {
        warning!("shardman: the metadata log did not stop cleanly: {reason}");
    }
}

/// Moves events to the applier and the server log. An error ends the worker;
/// the postmaster starts it again.
fn take_events(events: &Receiver<Event>, applier: &mut Applier) -> Result<(), String> {
    for event in events.try_iter() {
        match event {
            Event::Applied { index, metadata } => applier.note(index, metadata),
            Event::Adopted(identity) => {
                log!("shardman: node {} of cluster {}", identity.node_id, identity.cluster_id);
            }
            Event::Left => {
                applier.forget();
                log!("shardman: this server has left its cluster");
            }
            Event::Log { level: Level::Log, message } => log!("shardman: {message}"),
            Event::Log { level: Level::Warning, message } => warning!("shardman: {message}"),
            Event::Stopped(reason) => warning!("shardman: the metadata log is stopped: {reason}"),
            Event::Failed(reason) => return Err(reason),
        }
    }
    Ok(())
}

/// Sleeps until a signal or the Raft thread wakes us, or the timeout passes.
fn wait(wake_up: &WakeUp, timeout_ms: Option<i64>) {
    // SAFETY: MyLatch is this process's latch, the socket stays open during
    // the call.
    unsafe {
        let events =
            pg_sys::WL_LATCH_SET | pg_sys::WL_SOCKET_READABLE | pg_sys::WL_EXIT_ON_PM_DEATH;
        let events = match timeout_ms {
            Some(_) => events | pg_sys::WL_TIMEOUT,
            None => events,
        };
        pg_sys::WaitLatchOrSocket(
            pg_sys::MyLatch,
            events as i32,
            wake_up.socket(),
            timeout_ms.unwrap_or(-1),
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}

/// Runs `f` with all signals blocked: threads that it starts inherit that, so
/// that PostgreSQL's handlers run in the main thread only.
fn with_signals_blocked<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: plain libc calls on local signal sets.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let result = f();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        result
    }
}
