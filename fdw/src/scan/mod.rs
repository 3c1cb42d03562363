//! Foreign scans: size, path and plan of one relation; its execution by a
//! portal in chunks, several at the same time under Append; of joined and grouped
//! relations the same.

mod asynchronous;
mod borrowed;
mod callbacks;
mod effort;
mod evaluated;
mod facts;
mod grouping;
mod join;
mod limit;
mod notes;
mod order;
mod parameterised;
mod path;
mod plan;
mod private;
mod relation;
mod remote_estimate;
mod rescans;
mod run;
mod source;
mod state;
mod together;
mod upper;
mod waits;

pub use asynchronous::{Waiting, configure_wait, is_async_capable, notify, request};
pub use borrowed::init as borrow_statistics;
pub use callbacks::{begin, end, iterate, recheck, rescan};
pub use effort::Effort;
pub use evaluated::Evaluated;
pub use join::get_join_paths;
pub use limit::Bound;
pub use notes::Notes;
pub use path::get_paths;
pub use plan::get_plan;
pub use private::ScanPrivate;
pub use relation::get_rel_size;
pub use state::{Effects, ScanState};
pub use upper::get_upper_paths;
