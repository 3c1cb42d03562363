//! What all background workers of the extension have in common.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgrx::bgworkers::{
    BackgroundWorker, BackgroundWorkerBuilder, BgWorkerStartTime, SignalWakeFlags,
};

use crate::settings;

/// Registers a worker whose main function has this name. Called while the
/// library is preloaded. One that ends is started again after a second.
pub fn register(name: &str, main: &str) {
    BackgroundWorkerBuilder::new(name)
        .set_library("shardman")
        .set_function(main)
        .enable_spi_access()
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(Some(Duration::from_secs(1)))
        .load();
}

/// The beginning of each main function: signals, and the cluster's database.
pub fn begin() {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    BackgroundWorker::connect_worker_to_spi(Some(&settings::database()), None);
}

/// Set once, for good: pgrx's own functions forget that they were told with their
/// first answer.
static IS_TOLD_TO_END: AtomicBool = AtomicBool::new(false);

/// Whether this worker has been told to end.
pub fn is_told_to_end() -> bool {
    if BackgroundWorker::sigterm_received() {
        IS_TOLD_TO_END.store(true, Ordering::Relaxed);
    }
    IS_TOLD_TO_END.load(Ordering::Relaxed)
}

/// Waits until somebody wakes this worker, or for this time; false if it is to
/// end, or its server is gone.
pub fn wait(time: Duration) -> bool {
    if is_told_to_end() {
        return false;
    }
    if !BackgroundWorker::wait_latch(Some(time)) {
        IS_TOLD_TO_END.store(true, Ordering::Relaxed);
    }
    !is_told_to_end()
}
