//! The seam between Raft and whatever carries its frames.

use std::future::Future;
use std::io;
use std::pin::Pin;

use cluster::{Credential, NodeId};

/// A boxed future: the connector is chosen at run time.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a peer is reached and how to log in there.
#[derive(Clone, Debug)]
pub struct PeerAddress {
    /// The peer.
    pub node: NodeId,
    /// The node that connects; the peer's administrators see it.
    pub origin: NodeId,
    /// As in [`cluster::metadata::NodeRecord::connstr`].
    pub connstr: String,
    /// The cluster's.
    pub credential: Credential,
}

/// Opens connections to peers. Called on the Raft thread, inside its runtime,
/// and given up after [`crate::Timing::connect`].
pub trait PeerConnector: Send + Sync + 'static {
    /// A connection that is logged in and ready for calls.
    fn connect(
        &self,
        address: PeerAddress,
    ) -> BoxFuture<'static, io::Result<Box<dyn PeerConnection>>>;
}

/// A connection to a peer, used for one call at a time and kept between calls.
pub trait PeerConnection: Send + 'static {
    /// Hands `frame` to the peer's worker and answers its reply. The connection
    /// is dropped, without a word to the peer, if this fails or takes too long.
    fn call(&mut self, frame: Vec<u8>) -> BoxFuture<'_, io::Result<Vec<u8>>>;

    /// Whether the connection is known to be of no use any more.
    fn is_closed(&self) -> bool;
}
