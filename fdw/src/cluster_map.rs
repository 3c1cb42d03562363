//! What the wrapper asks of the cluster: where a leaf lives, how its node is
//! reached, and what a session there must say first. Values only; the cdylib
//! implements it over the shard map, tests over a setting.

use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Instant;

use cluster::{Credential, NodeId, TableId};
use pgrx::pg_sys;

use crate::error::Refusal;

/// How a node is reached. `generation` changes with any of the rest, so that
/// connections of the former one are not used again.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The node.
    pub node: NodeId,
    /// As messages and EXPLAIN show it.
    pub name: String,
    /// Host name, address, or directory of a Unix socket.
    pub host: String,
    /// TCP port, or the number in the Unix socket's name.
    pub port: u16,
    /// Database.
    pub dbname: String,
    /// Role that logs in.
    pub user: String,
    /// Its secret, if it needs one.
    pub password: Option<Credential>,
    /// Changes whenever another field does.
    pub generation: u64,
}

/// A participant of a two-phase commit.
#[derive(Clone, Debug)]
pub struct PreparedParticipant {
    /// `None` for a server that a user created by hand.
    pub node: Option<NodeId>,
    /// Node or server name.
    pub name: String,
    /// Identifier of the prepared transaction there.
    pub gid: String,
}

/// The partitions of a sharded table, which are alike in size and indexes.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The table.
    pub table: u64,
    /// A partition that is on this node, if there is one.
    pub here: Option<pg_sys::Oid>,
}

/// How a transaction that used other nodes has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Committed by one other node alone.
    OnePhase,
    /// Committed in two phases.
    TwoPhase,
    /// Rolled back.
    Aborted,
}

/// Implemented by the cdylib. Every method runs inside a transaction unless it
/// says otherwise, and returns a refusal instead of raising.
pub trait ClusterMap: Sync {
    /// The node of a foreign table that is a leaf of a sharded table; `None`
    /// for a foreign table of a server that a user created.
    fn node_of_leaf(&self, relid: pg_sys::Oid) -> Result<Option<NodeId>, Refusal>;

    /// The family of a leaf of a sharded table; `None` for other foreign tables.
    fn family_of_leaf(&self, _relid: pg_sys::Oid) -> Option<Family> {
        None
    }

    /// The colocation group of a sharded table, by its parent; `None` for any other
    /// table.
    fn colocation_group(&self, _parent: pg_sys::Oid) -> Result<Option<TableId>, Refusal> {
        Ok(None)
    }

    /// Whether a table has the same rows on every node.
    fn is_replicated(&self, _relid: pg_sys::Oid) -> Result<bool, Refusal> {
        Ok(false)
    }

    /// How to reach a node.
    fn endpoint(&self, node: NodeId) -> Result<Endpoint, Refusal>;

    /// This node, if it is in a cluster.
    fn local_node(&self) -> Option<NodeId>;

    /// Query that a fresh connection runs first, pipelined before its first
    /// statement; its one row goes to [`ClusterMap::check_handshake`].
    fn handshake(&self, _node: NodeId) -> Option<String> {
        None
    }

    /// Refuses a server that is not the node it should be. `row` is the answer
    /// to the handshake query.
    fn check_handshake(&self, _node: NodeId, _row: &[Option<String>]) -> Result<(), Refusal> {
        Ok(())
    }

    /// What rides in front of a statement so that it runs as the right user
    /// with the right search path, one SQL command. Sent when the text differs
    /// from what that session was last told, and again after any error or
    /// transaction end.
    fn opening_statement(&self, node: NodeId) -> Result<Rc<str>, Refusal> {
        let _ = node;
        crate::session::default_opening_statement()
    }

    /// The `generation` of [`ClusterMap::endpoint`], asked for each statement.
    fn generation(&self, node: NodeId) -> Result<u64, Refusal> {
        self.endpoint(node).map(|endpoint| endpoint.generation)
    }

    /// Refuses to begin a transaction on a node if the isolation level of the
    /// local one could not be kept. `others` counts the nodes that take part
    /// already.
    fn check_isolation(&self, _node: NodeId, _others: &dyn Fn() -> usize) -> Result<(), Refusal> {
        Ok(())
    }

    /// A participant of the local transaction, which is committed, is still
    /// prepared: recovery shall finish it. Waits for that up to the deadline and
    /// returns whether it happened. Called in COMMIT: nothing in it may raise.
    fn leave_to_recovery(&self, _deadline: Instant) -> bool {
        false
    }

    /// The identifier of part `n` of the local transaction `xid`, which has
    /// these participants; `None` for a server that a user created by hand.
    fn gid(&self, xid: u64, n: u32, _participants: &[Option<NodeId>]) -> String {
        let node = self.local_node().map_or(0, |n| n.0);
        format!("sc_{node}_{xid}_{n}")
    }

    /// Whether a transaction that is being rolled back may roll its prepared
    /// parts back too. If not, somebody else finishes them. Called in ABORT:
    /// must not raise.
    fn may_roll_back_prepared(&self) -> bool {
        true
    }

    /// Takes note of a transaction's end. Called in COMMIT and ABORT: must not
    /// raise.
    fn note_end(&self, _how: Ended) {}

    /// Writes the decision row(s) into the local transaction, before the first
    /// PREPARE is sent. The seam for recovery; nothing by default.
    fn record_decision(&self, _participants: &[PreparedParticipant]) -> Result<(), Refusal> {
        Ok(())
    }
}

static MAP: OnceLock<&'static dyn ClusterMap> = OnceLock::new();

/// Tells the wrapper whom to ask; once, at load. Later calls are ignored.
pub fn register(map: &'static dyn ClusterMap) {
    let _ = MAP.set(map);
}

pub(crate) fn note_end(how: Ended) {
    if let Some(map) = map() {
        map.note_end(how);
    }
}

pub(crate) fn map() -> Option<&'static dyn ClusterMap> {
    MAP.get().copied()
}
