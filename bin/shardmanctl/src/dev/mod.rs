//! Clusters for development and tests: all servers on this machine, listening
//! on 127.0.0.1 only, without passwords.
//!
//! - [`commands`]: what each subcommand does;
//! - [`cluster`], [`state`]: the directory and what is remembered in it;
//! - [`server`], [`settings`], [`process`]: one server, its configuration, its processes;
//! - [`membership`]: from servers to a cluster;
//! - [`account`], [`binaries`]: what is found on this machine.

mod account;
mod binaries;
mod cluster;
mod commands;
mod membership;
mod process;
mod server;
mod settings;
mod state;

pub use binaries::Binaries;
pub use commands::run;
