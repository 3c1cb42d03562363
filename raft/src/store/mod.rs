//! The log and the state machine on disk, in one redb file.
//!
//! On disk are the log, the vote, what is known to be committed and the last
//! snapshot. The state machine itself lives in memory: a restart loads the
//! snapshot and applies the committed entries behind it again, so that applying
//! an entry costs what the entry changes, not the size of the metadata. Every
//! write is synced before it is acknowledged, the committed position included,
//! so that a restart never falls behind what was announced.

#[cfg(test)]
mod conformance;
mod file;
mod log_store;
mod recollection;
mod snapshot;
mod state_machine;

pub(crate) use file::{Owner, StoreError, StoreFile};
pub(crate) use log_store::LogStore;
pub(crate) use recollection::Recollection;
pub(crate) use state_machine::{Applied, Shared, StateMachine};
