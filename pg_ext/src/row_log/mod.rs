//! Tables whose changes are carried by a row log: what users call a log.
//!
//! A statement first brings this node's copy up to what a majority knows
//! (`reading`). What it changes is written down as row images (`capture`), and
//! appended when the transaction commits (`commit`); the log's answer decides.
//! Every node applies the log in order (`applier`), the transaction's own node
//! by the commit of the transaction itself, when its turn has come.
//! The rules are in `cluster::row_log`.

mod applier;
mod buffer;
mod capture;
mod commit;
mod copy;
mod fencing;
mod keys;
mod launcher;
mod memory;
mod other_work;
mod position;
mod reading;
mod refusal;
mod sql;

pub use capture::after;
pub use commit::init;
pub use fencing::{before_change, fence, reach};
pub use launcher::register;
pub use memory::Memory;
pub use other_work::{is_bulk_write, note as note_other_work, writes_nothing_else};
pub use reading::{before_copy, before_statement, concerns};
pub use sql::{check_table, id_of};
