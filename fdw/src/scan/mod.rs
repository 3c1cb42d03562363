//! Foreign scans: size, path and plan of one relation; its execution by a
//! portal in chunks; of a grouped relation the same. To come, a file each: joins,
//! order and limit, parameterised paths, Async Append.

mod callbacks;
mod grouping;
mod path;
mod plan;
mod private;
mod relation;
mod state;
mod upper;

pub use callbacks::{begin, end, iterate, rescan};
pub use path::get_paths;
pub use plan::get_plan;
pub use private::ScanPrivate;
pub use relation::get_rel_size;
pub use upper::get_upper_paths;
