//! Replicated tables: ordinary tables with the same rows on every node.
//!
//! A statement that writes one takes the table's writer lock on its home node
//! (`lock`) before it touches a row, writes its own copy as any table, and
//! afterwards hands what it changed to the other nodes (`ship`), inside the
//! same distributed transaction. There the changes are made row by row below
//! the executor (`apply`): constraints hold, users' triggers do not fire again.

mod alter;
mod apply;
mod compare;
mod copying;
mod definition;
mod epoch;
mod key;
mod lock;
mod pinned;
mod returning;
mod ship;
mod standing;
mod starting;
mod triggers;
mod turning;

pub use alter::{check_alter, check_result};
pub use apply::{apply_own, is_applying};
pub use compare::send_again;
pub use copying::{Copying, hold_writers};
pub use definition::{CreatedReplicated, before_create, register};
pub use epoch::{check_before_decision, check_before_prepare};
pub use key::Key;
pub use lock::{init, lock_table};
pub use returning::{bring_up_to_date, catch_up, owner_of};
pub use ship::{Rows, changes, end_statement, present_rows};
pub use starting::{before_statement, before_truncate, concerns};
pub use turning::{replicate, replicate_under};
