//! Foreign scans: size, path and plan of one relation; its execution by a
//! portal in chunks, several at the same time under Append. To come, a file each: joins, aggregates, order and limit,
//! parameterised paths.

mod asynchronous;
mod callbacks;
mod evaluated;
mod path;
mod plan;
mod private;
mod relation;
mod state;

pub use asynchronous::{Waiting, configure_wait, is_async_capable, notify, request};
pub use callbacks::{begin, end, iterate, rescan};
pub use path::get_paths;
pub use plan::get_plan;
pub use private::ScanPrivate;
pub use relation::get_rel_size;
