//! How Raft's messages and forwarded requests reach the other nodes.

mod connector;
mod envelope;
mod gatekeeper;
mod peers;
mod postgres;
mod raft_network;

pub use connector::{BoxFuture, PeerAddress, PeerConnection, PeerConnector};
pub(crate) use envelope::{Acquaintance, Answer, Ask, Envelope, Reply, SnapshotBody};
pub(crate) use gatekeeper::Gatekeeper;
pub(crate) use peers::{Lane, PeerError, Peers};
pub use postgres::PostgresConnector;
pub(crate) use raft_network::{Network, ask};
