//! Row logs: what users call a log. A transaction's changes to the tables of a
//! log are one entry of row images, and every node applies the entries of a log
//! in order.
//!
//! All row logs lie in the one Raft log, but each has positions of its own. An
//! entry is accepted only if nobody has changed, since its transaction looked,
//! what the transaction has changed or must not find changed: the first to
//! commit wins. For a transaction that did nothing else, accepted means
//! committed; otherwise the entry is an intent, and the coordinator's node says
//! how the transaction ended.

mod bytes;
mod command;
mod entry;
mod fence;
mod footprint;
mod ids;
mod log;
mod logs;

#[cfg(test)]
mod properties;

pub use bytes::Bytes;
pub use command::{RowLogAnswer, RowLogCommand, RowLogRefusal};
pub use entry::{MAX_ENTRY_BYTES, RowEntry, RowEntryKind, RowPart, Settled};
pub use fence::Fence;
pub use footprint::{Footprint, TableFootprint, TableLog};
pub use ids::{RowLogId, RowLogPosition};
pub use log::{Accepted, RowLog};
pub use logs::{MAX_ROW_LOGS, RowLogs};
