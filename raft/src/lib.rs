//! The metadata log: openraft on tokio, in a thread of the node's background
//! worker.
//!
//! The worker's main thread calls [`spawn`] and receives [`Event`]s; backends
//! of the same server send a [`Request`] over the worker's Unix socket and get
//! a [`Response`]; the peers' frames arrive the same way, inside
//! [`Request::Rpc`]. Nothing here calls PostgreSQL: what the log decides is
//! handed over as plain values.
//!
//! - `local`: the Unix socket, its frames and requests
//! - `network`: how a frame reaches a peer and what is in it
//! - `store`: the log and the state machine on disk
//! - `node`: the running member: proposals, membership, status
#![forbid(unsafe_code)]

mod config;
mod error;
mod event;
mod identity_file;
mod local;
mod network;
mod node;
mod store;
mod thread;
mod type_config;

pub use config::{Config, Limits, Timing};
pub use error::RaftError;
pub use event::{Event, Level};
pub use local::{
    Client, DdlView, FrameReader, MAX_FRAME_BYTES, MatchedIndex, RaftState, RaftStatus, Request,
    Response, RowLogView, RowLogsView, SOCKET_NAME, decode_request, decode_response,
    encode_request, encode_response,
};
pub use network::{BoxFuture, PeerAddress, PeerConnection, PeerConnector, PostgresConnector};
pub use node::MAX_VOTERS;
pub use thread::{RaftThread, spawn};
