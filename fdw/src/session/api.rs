//! Remote commands for the rest of the extension, in the same remote
//! transactions that foreign scans and modifications use.

use std::rc::Rc;

use cluster::NodeId;

use super::{Request, Slot, Statement, Target, acquire, collect, registry};
use crate::error::Error;

/// The session with one node.
pub struct Remote {
    slot: Rc<Slot>,
}

/// The session with a node, opened if need be. Its transaction begins with the
/// first command.
pub fn for_node(node: NodeId) -> Result<Remote, Error> {
    Ok(Remote { slot: acquire(Target::Node(node))? })
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
