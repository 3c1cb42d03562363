//! What a session is with: a node of the cluster, or a user's own server.

use cluster::NodeId;
use pgrx::pg_sys;

/// The key of a session, with what is needed to open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A node; the session logs in as the node role.
    Node(NodeId),
    /// A foreign server, through a user's mapping.
    Server {
        /// Foreign server.
        server: pg_sys::Oid,
        /// Whose mapping.
        user: pg_sys::Oid,
    },
}
