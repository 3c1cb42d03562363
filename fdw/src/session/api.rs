//! Remote commands for the rest of the extension, in the same remote
//! transactions that foreign scans and modifications use.

use std::rc::Rc;

use cluster::NodeId;

use super::{Request, Slot, Statement, Target, acquire, collect, idle, opening, registry};
use crate::error::{Error, Report, SqlState, emit, quietly};

/// The session with one node.
pub struct Remote {
    pub(super) slot: Rc<Slot>,
}

/// An open session of this backend.
pub struct OpenSession {
    /// Of the node or server.
    pub name: String,
    /// The node, unless it is a user's own server.
    pub node: Option<NodeId>,
    /// False if it will be opened anew: lost, or its server or mapping has changed.
    pub is_valid: bool,
    /// Part of the present transaction.
    pub in_transaction: bool,
}

/// The sessions of this backend that are open.
pub fn open_sessions() -> Result<Vec<OpenSession>, Error> {
    let mut open = Vec::new();
    for slot in registry::slots() {
        // Looked up before the lease is taken: the catalogues may raise.
        let generation = match slot.target {
            Target::Server { server, .. } if !server_exists(server) => None,
            // A user mapping that is gone raises.
            target => quietly(|| opening::destination(target)).ok().map(|d| d.generation),
        };
        if let Some(session) = slot.try_lease()? {
            open.push(OpenSession {
                name: session.name.to_string(),
                node: session.node,
                is_valid: generation == Some(session.generation)
                    && session.connection.lost().is_none(),
                in_transaction: session.depth > 0,
            });
        }
    }
    Ok(open)
}

#[allow(unsafe_code)]
fn server_exists(server: pgrx::pg_sys::Oid) -> bool {
    const MISSING_OK: u32 = 1;
    // SAFETY: guarded catalogue look-up.
    unsafe { !pgrx::pg_sys::GetForeignServerExtended(server, MISSING_OK as u16).is_null() }
}

/// Closes the sessions with one node or server, or with all. Those that are part
/// of the present transaction stay, with a warning. Returns whether one was closed.
pub fn disconnect(name: Option<&str>) -> Result<bool, Error> {
    idle::begin_use();
    let mut closed = false;
    for slot in registry::slots() {
        let Some(session) = slot.try_lease()? else { continue };
        if name.is_some_and(|name| *name != *session.name) {
            continue;
        }
        if session.depth > 0 {
            let message = format!("the session with \"{}\" stays open: it is in use", session.name);
            drop(session);
            emit(&Report::warning(SqlState::WRONG_STATE, message));
            continue;
        }
        session.discard();
        closed = true;
    }
    Ok(closed)
}

/// The session with a node, opened if need be. Its transaction begins with the
/// first command.
pub fn for_node(node: NodeId) -> Result<Remote, Error> {
    Ok(Remote { slot: acquire(Target::Node(node))? })
}

/// Those of some nodes with which no session can be opened now. Sessions are
/// opened with the others, all at the same time. An error if a transaction was
/// going on there and its session is lost.
pub fn unreachable(nodes: &[NodeId]) -> Result<Vec<NodeId>, Error> {
    let targets: Vec<Target> = nodes.iter().map(|n| Target::Node(*n)).collect();
    registry::open_all(&targets)?;
    let mut missing = Vec::new();
    for node in nodes {
        match acquire(Target::Node(*node)) {
            Ok(_) => {}
            Err(Error::CouldNotConnect { .. }) => missing.push(*node),
            Err(e) => return Err(e),
        }
    }
    Ok(missing)
}

/// Runs commands on several nodes at once: connected to all, sent to all, then collected in
/// order. Each becomes a writing participant. The first error is returned, with
/// the other replies left to the transaction's end.
pub fn execute_on_all(nodes: &[NodeId], sql: &str) -> Result<(), Error> {
    let targets: Vec<Target> = nodes.iter().map(|n| Target::Node(*n)).collect();
    registry::open_all(&targets)?;
    let remotes = nodes.iter().map(|n| for_node(*n)).collect::<Result<Vec<_>, _>>()?;
    let mut sent = Vec::with_capacity(remotes.len());
    for remote in &remotes {
        sent.push((remote, remote.send(sql)?));
    }
    for (remote, ticket) in sent {
        collect(&remote.slot, ticket, sql)?;
    }
    Ok(())
}

impl Remote {
    /// Runs one or more commands by the simple protocol; the node becomes a
    /// writing participant. Returns the last command's tag.
    pub fn execute(&self, sql: &str) -> Result<String, Error> {
        let ticket = self.send(sql)?;
        Ok(collect(&self.slot, ticket, sql)?.tag.unwrap_or_default())
    }

    /// Runs a query with parameters and returns all rows as text. Does not make
    /// the node a writer; see [`Remote::mark_writer`].
    pub fn query(
        &self,
        sql: &str,
        parameters: &[Option<&str>],
    ) -> Result<Vec<Vec<Option<String>>>, Error> {
        let statement = Statement {
            sql: sql.as_bytes().into(),
            types: vec![0; parameters.len()].into(),
            parameter_formats: vec![0; parameters.len()].into(),
            result_formats: Rc::new([]),
            is_kept: true,
        };
        let mut wire = Vec::new();
        for parameter in parameters {
            match parameter {
                None => wire.extend_from_slice(&(-1i32).to_be_bytes()),
                Some(text) => {
                    wire.extend_from_slice(&(text.len() as i32).to_be_bytes());
                    wire.extend_from_slice(text.as_bytes());
                }
            }
        }
        let request = Request { statement: &statement, parameters: &wire, portal: "", max_rows: 0 };
        self.slot.enter()?.holds = true;
        let ticket = self.slot.send(&request)?;
        Ok(collect(&self.slot, ticket, sql)?.rows.to_text())
    }

    /// Declares that the remote transaction writes: it takes part in two-phase
    /// commit.
    pub fn mark_writer(&self) -> Result<(), Error> {
        self.slot.enter()?.wrote = true;
        Ok(())
    }

    fn send(&self, sql: &str) -> Result<u64, Error> {
        let mut session = self.slot.enter()?;
        session.wrote = true;
        session.simple(sql)
    }
}
