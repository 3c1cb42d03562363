//! The worker's Unix socket: what backends of the same server ask, and how.

mod client;
mod codec;
mod ddl_view;
mod frame_reader;
mod listener;
mod request;
mod row_logs_view;
mod status;

pub use client::Client;
pub use codec::{decode_request, decode_response, encode_request, encode_response};
pub use ddl_view::DdlView;
pub use frame_reader::{FrameReader, MAX_FRAME_BYTES};
pub(crate) use listener::{bind, serve};
pub use request::{Request, Response};
pub use row_logs_view::{RowLogView, RowLogsView};
pub use status::{MatchedIndex, RaftState, RaftStatus};

/// The socket's name inside [`crate::Config::dir`].
pub const SOCKET_NAME: &str = "worker.sock";
