//! What all background workers of the extension have in common.

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
