//! Foreign scans: size, path and plan of one relation; its execution by a
//! portal in chunks; of joined and grouped relations the same. To come, a file each:
//! order and limit, parameterised paths, Async Append.

mod callbacks;
mod grouping;
mod join;
mod limit;
mod path;
mod plan;
mod private;
mod relation;
mod source;
mod state;
mod upper;

pub use callbacks::{begin, end, iterate, rescan};
pub use join::get_join_paths;
pub use path::get_paths;
pub use plan::get_plan;
pub use private::ScanPrivate;
pub use relation::get_rel_size;
pub use upper::get_upper_paths;
