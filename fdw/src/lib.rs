//! How a statement reaches partitions on other nodes: the wrapper
//! `shardman_fdw`, its driver and its remote transactions.
//!
//! Layers, each knowing only the one below: callbacks (`scan`, `modify`,
//! `analyze`) over `session` (one remote transaction per backend and endpoint)
//! over `transport` (the wire protocol without blocking). `error::border` is
//! the only place that raises.

// The macro behind `#[pg_guard] extern` blocks expands to `crate::ffi::…`.
#[allow(unused_imports)]
use pgrx::pg_sys::ffi;

mod analyze;
mod backend;
mod cluster_map;
mod compat;
mod deparse;
mod error;
mod explain;
mod handler;
mod images;
mod import;
mod modify;
mod options;
mod placement;
pub mod router;
mod scan;
pub mod session;
mod shippable;
mod transport;
mod types;

pub use backend::{cells, text_of};
pub use cluster_map::{ClusterMap, Ended, Endpoint, Family, PreparedParticipant, register};
pub use error::{Error, Refusal, RemoteError, Report, SqlState, callback, emit, quietly, raise};
pub use handler::handler;
pub use images::{ImageReader, ImageWriter};
pub use options::{OPTIONS, validate_options};
pub use placement::Placement;
pub use scan::borrow_statistics;
pub use session::{RESERVED as RESERVED_NAMES, init};
