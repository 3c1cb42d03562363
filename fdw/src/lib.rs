//! stub
#[allow(unused_imports)]
use pgrx::pg_sys::ffi;
mod backend;
mod cluster_map;
mod compat;
mod error;
mod options;
pub mod session;
mod transport;
pub use cluster_map::{ClusterMap, Endpoint, PreparedParticipant, register};
pub use error::{Error, Refusal, RemoteError, Report, SqlState, callback, emit, quietly, raise};
pub use session::init;
