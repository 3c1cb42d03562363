//! The metadata worker: one background worker a node, whose second thread
//! keeps the metadata log and whose main thread brings its effects into
//! PostgreSQL. Backends talk to it over a Unix socket in the data directory.

mod applier;
mod ask;
mod background;
mod listed;
pub mod process;
mod wake_up;

pub use ask::{ask, ask_log, tell, try_ask};
pub use background::register;
pub use listed::{wait_until, wait_until_active, wait_until_listed};
