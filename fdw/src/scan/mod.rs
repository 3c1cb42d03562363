//! Foreign scans: size, path and plan of one relation; its execution by a
//! portal in chunks, several at the same time under Append; of joined and grouped
//! relations the same. To come, a file each: order, parameterised paths.

mod asynchronous;
mod callbacks;
mod effort;
mod evaluated;
mod grouping;
mod join;
mod limit;
mod notes;
mod path;
mod plan;
mod private;
mod relation;
mod rescans;
mod source;
mod state;
mod upper;

pub use asynchronous::{Waiting, configure_wait, is_async_capable, notify, request};
pub use callbacks::{begin, end, iterate, recheck, rescan};
pub use effort::Effort;
pub use evaluated::Evaluated;
pub use join::get_join_paths;
pub use notes::Notes;
pub use path::get_paths;
pub use plan::get_plan;
pub use private::ScanPrivate;
pub use relation::get_rel_size;
pub use state::{Effects, ScanState};
pub use upper::get_upper_paths;
