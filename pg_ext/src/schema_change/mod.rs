//! Transactions that change the schema, decided by the metadata log.
//!
//! The coordinator takes the token, every node that takes part first applies
//! what was decided before and inserts a marker, and after PREPARE the whole
//! change is appended: that answer decides. Each node's queue then commits what
//! is prepared there, skips what the marker says is done, and runs the rest.
//! The rules are in `cluster::metadata::ddl`.

mod applied;
mod decision;
mod line;
mod other_work;
mod queue;
mod receive;
mod sql;
mod standing;
mod tell;
mod token;
mod transaction;

pub use applied::{note_position, wait_for};
pub use decision::{init, may_roll_back_prepared, prepared_under};
pub use line::{lock_ddl, stand_in_line_here};
pub use other_work::{is_ours as is_own_work, note as note_other_work, note_query, note_utility};
pub use queue::{in_transaction, register};
pub use receive::{begin, pin_time};
pub use standing::{
    REJOIN, Standing, begin_to_serve, check_query, check_utility, is_confirmed, is_serving,
    renew_lease, wait_until_served,
};
pub use tell::{missing_members, tell_all};
pub use token::is_wanted;
pub use transaction::{current, is_going_on};
