//! One connection with its remote transaction.
#![allow(unsafe_code)]

use std::io;
use std::rc::{Rc, Weak};

use bytes::BufMut;
use cluster::NodeId;
use pgrx::pg_sys;
use postgres_protocol::message::frontend;

use super::statements::{Lookup, Statement, StatementCache};
use crate::error::{Error, Refusal, SqlState};
use crate::scan::Waiting;
use crate::transport::{Connection, Reply, Ticket};

/// What the chunks of all portals of a session aim at.
const ALL_CHUNKS: usize = 4 * 1024 * 1024;
/// What the chunk of a single portal aims at.
const LARGEST_CHUNK: usize = 1024 * 1024;
/// Below this, round trips cost more than the memory is worth.
const SMALLEST_CHUNK: usize = 32 * 1024;

/// What is asked of a session.
pub struct Request<'a> {
    /// The statement.
    pub statement: &'a Statement,
    /// Parameters in wire form: length and bytes, one after another.
    pub parameters: &'a [u8],
    /// Name of the portal; a named one can be continued.
    pub portal: &'a str,
    /// 0 for all rows.
    pub max_rows: i32,
}

/// What follows Bind.
#[derive(PartialEq)]
enum Then {
    Execute,
    Nothing,
}

/// How far the remote transaction's end has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Not begun.
    None,
    /// PREPARE TRANSACTION was sent; its answer is not known.
    PrepareSent(String),
    /// Prepared.
    Prepared(String),
    /// To be committed after the local commit: see [`Session::may_commit_late`].
    Late,
}

/// A remote session. All methods only append to the output or look at what has
/// arrived; waiting is `exchange`'s.
pub struct Session {
    /// Unique in this backend; a scan compares it before it continues a portal.
    pub id: u64,
    /// Node or server name.
    pub name: Rc<str>,
    /// `None` for a user's own server.
    pub node: Option<NodeId>,
    /// Of the endpoint it was opened to.
    pub generation: u64,
    /// The wire.
    pub connection: Connection,
    /// 0 outside of a remote transaction, 1 in it, more within savepoints:
    /// the local nesting level that it has followed to.
    pub depth: i32,
    /// Counts remote transactions; with `id` it names one.
    pub transaction: u64,
    /// Something was written in the remote transaction.
    pub wrote: bool,
    /// Something ran in the remote transaction whose end matters although it
    /// did not write: row locks, or SQL that is not of the scans' making.
    pub holds: bool,
    /// Of the remote transaction.
    pub ending: Ending,
    /// What the remote session was last told (see `ClusterMap::opening_statements`).
    pub told: Option<String>,
    /// The handshake query, until its answer was checked.
    pub handshake: Option<Ticket>,
    /// A wait for it was interrupted and not resumed.
    pub interrupted: bool,
    /// Of each savepoint: its level, and the request that set it.
    savepoints: Vec<(i32, Ticket)>,
    statements: StatementCache,
    in_flight: Vec<(Ticket, u64)>,
    closed_portals: Vec<String>,
    next_portal: u64,
    open_portals: usize,
    waiting: Vec<Weak<Waiting>>,
}

impl Session {
    /// Around a fresh connection.
    pub fn new(
        id: u64,
        name: Rc<str>,
        node: Option<NodeId>,
        generation: u64,
        connection: Connection,
    ) -> Session {
        Session {
            id,
            name,
            node,
            generation,
            connection,
            depth: 0,
            transaction: 0,
            wrote: false,
            holds: false,
            ending: Ending::None,
            told: None,
            handshake: None,
            interrupted: false,
            savepoints: Vec::new(),
            statements: StatementCache::default(),
            in_flight: Vec::new(),
            closed_portals: Vec::new(),
            next_portal: 0,
            open_portals: 0,
            waiting: Vec::new(),
        }
    }

    /// The error if the connection is gone.
    pub fn check_usable(&self) -> Result<(), Error> {
        match self.connection.lost() {
            None => Ok(()),
            Some(reason) => Err(Error::ConnectionLost {
                node: self.name.to_string(),
                reason: reason.to_string(),
            }),
        }
    }

    /// Enters a request of Async Append that waits for a chunk of this session.
    pub fn add_waiting(&mut self, waiting: &Rc<Waiting>) {
        self.waiting.push(Rc::downgrade(waiting));
    }

    /// The requests of Async Append that wait for chunks of this session.
    pub fn waiting(&mut self) -> Vec<Rc<Waiting>> {
        self.waiting.retain(|w| w.strong_count() > 0);
        self.waiting.iter().filter_map(Weak::upgrade).collect()
    }

    /// How large a portal's chunk may get, so that all of them together stay
    /// small: two of each portal may be here at once.
    pub fn chunk_bytes(&self) -> usize {
        (ALL_CHUNKS / self.open_portals.max(1)).clamp(SMALLEST_CHUNK, LARGEST_CHUNK)
    }

    /// A portal name not used before in this session.
    pub fn new_portal(&mut self) -> String {
        self.next_portal += 1;
        self.open_portals += 1;
        format!("p{}", self.next_portal)
    }

    /// Has a portal closed with the next request.
    pub fn close_portal(&mut self, portal: String) {
        self.open_portals = self.open_portals.saturating_sub(1);
        self.closed_portals.push(portal);
    }

    /// Brings the remote transaction to the local one's level and tells the
    /// remote session `properties` if it does not know them. Only appends: the
    /// commands ride in front of what follows.
    pub fn enter_transaction(&mut self, properties: &str) -> Result<(), Error> {
        self.check_usable()?;
        if self.ending != Ending::None {
            return Err(Refusal::new(
                SqlState::WRONG_STATE,
                format!("the transaction on node \"{}\" is already ending", self.name),
            )
            .into());
        }
        // SAFETY: guarded; reads the backend's transaction state.
        let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
        let before = self.depth + 1;
        let mut sql = String::new();
        if self.depth == 0 {
            sql.push_str("BEGIN ISOLATION LEVEL ");
            sql.push_str(isolation_level());
            self.depth = 1;
            self.transaction += 1;
            self.wrote = false;
        }
        if !properties.is_empty() && self.told.as_deref() != Some(properties) {
            join(&mut sql, properties);
            self.told = Some(properties.to_string());
        }
        while self.depth < level {
            self.depth += 1;
            join(&mut sql, &format!("SAVEPOINT s{}", self.depth));
        }
        if !sql.is_empty() {
            let ticket = self.simple_detached(&sql)?;
            self.savepoints.retain(|(depth, _)| *depth < before);
            self.savepoints.extend((before.max(2)..=self.depth).map(|depth| (depth, ticket)));
        }
        Ok(())
    }

    /// The request that set the savepoint of a level: what was sent before it
    /// is not undone with it.
    pub fn savepoint(&self, level: i32) -> Option<Ticket> {
        self.savepoints.iter().find(|(depth, _)| *depth == level).map(|(_, ticket)| *ticket)
    }

    /// Appends a simple query nobody will collect.
    pub fn simple_detached(&mut self, sql: &str) -> Result<Ticket, Error> {
        frontend::query(sql, self.connection.output()).map_err(|e| self.not_sendable(&e))?;
        Ok(self.connection.expect_detached(sql))
    }

    /// Appends a simple query and sends it. Portals are closed first: DDL is
    /// refused on tables that one still reads.
    pub fn simple(&mut self, sql: &str) -> Result<Ticket, Error> {
        self.close_what_is_to_be_closed()?;
        frontend::query(sql, self.connection.output()).map_err(|e| self.not_sendable(&e))?;
        let ticket = self.connection.expect();
        self.connection.flush();
        Ok(ticket)
    }

    /// Whether nothing depends on the answer to COMMIT: the remote transaction
    /// did nothing but return rows of a node's leaves, and all of them have
    /// come. A foreign table of a user's own server may be a view over
    /// functions that write. With rows still on their way the other side could
    /// be stuck sending them, its transaction and locks open, until this
    /// session is used again.
    pub fn may_commit_unheard(&self) -> bool {
        self.node.is_some() && !self.wrote && !self.holds && !self.connection.is_busy()
    }

    /// Whether the remote transaction may be committed when the local one has
    /// been: nothing was written on that node, but rows may be locked.
    pub fn may_commit_late(&self) -> bool {
        self.node.is_some() && !self.wrote && self.holds
    }

    /// Sends COMMIT and forgets the remote transaction.
    pub fn commit_unheard(&mut self) -> Result<(), Error> {
        frontend::query("COMMIT", self.connection.output()).map_err(|e| self.not_sendable(&e))?;
        self.connection.expect_farewell("COMMIT");
        self.connection.flush();
        self.forget_transaction();
        Ok(())
    }

    /// Appends Parse if needed, Bind, Execute, Sync, and sends them.
    pub fn request(&mut self, request: &Request<'_>, user: u32) -> Result<Ticket, Error> {
        let ticket = self.append(request, user)?;
        self.connection.flush();
        Ok(ticket)
    }

    /// The same without sending.
    pub fn append(&mut self, request: &Request<'_>, user: u32) -> Result<Ticket, Error> {
        self.compose(request, user, Then::Execute)
    }

    /// The same without Execute: the portal gets its snapshot and waits for
    /// [`Session::continue_portal`].
    pub fn bind(&mut self, request: &Request<'_>, user: u32) -> Result<Ticket, Error> {
        let ticket = self.compose(request, user, Then::Nothing)?;
        self.connection.flush();
        Ok(ticket)
    }

    fn compose(&mut self, request: &Request<'_>, user: u32, then: Then) -> Result<Ticket, Error> {
        self.close_what_is_to_be_closed()?;
        let ticket = self.connection.expect();
        let statement = request.statement;
        let (name, parse) = if statement.is_kept {
            let connection = &self.connection;
            let lookup = self.statements.look_up(statement, user, ticket, |t| {
                connection.is_done(t) || connection.is_owed(t)
            });
            let (number, is_new) = match lookup {
                Lookup::Known(n) => (n, false),
                Lookup::New(n) => (n, true),
            };
            self.in_flight.push((ticket, number));
            (format!("s{number}"), is_new)
        } else {
            (String::new(), true)
        };
        let result = (|| {
            let output = self.connection.output();
            if parse {
                write_parse(output, &name, statement)?;
            }
            write_bind(output, &name, request)?;
            if then == Then::Execute {
                frontend::execute(request.portal, request.max_rows, output)?;
            }
            frontend::sync(output);
            Ok(())
        })();
        result.map_err(|e: io::Error| {
            // Half a message may be in the output: this connection is of no more use.
            self.connection.give_up("a message could not be composed");
            self.not_sendable(&e)
        })?;
        Ok(ticket)
    }

    /// Asks for more rows of a portal.
    pub fn continue_portal(&mut self, portal: &str, max_rows: i32) -> Result<Ticket, Error> {
        self.close_what_is_to_be_closed()?;
        let ticket = self.connection.expect();
        frontend::execute(portal, max_rows, self.connection.output())
            .map_err(|e| self.not_sendable(&e))?;
        frontend::sync(self.connection.output());
        self.connection.flush();
        Ok(ticket)
    }

    /// The reply, with what it tells about prepared statements taken note of.
    pub fn take(&mut self, ticket: Ticket) -> Option<Reply> {
        let reply = self.connection.take(ticket)?;
        if let Some(at) = self.in_flight.iter().position(|(t, _)| *t == ticket) {
            let (_, name) = self.in_flight.swap_remove(at);
            self.statements.answered(ticket, name, reply.error.is_none());
        }
        Some(reply)
    }

    /// What holds only within one remote transaction.
    pub fn forget_transaction(&mut self) {
        self.depth = 0;
        self.wrote = false;
        self.holds = false;
        self.ending = Ending::None;
        self.told = None;
        self.interrupted = false;
        self.savepoints.clear();
        self.closed_portals.clear();
        self.open_portals = 0;
        self.in_flight.clear();
        self.connection.forget_all();
    }

    fn close_what_is_to_be_closed(&mut self) -> Result<(), Error> {
        let portals = std::mem::take(&mut self.closed_portals);
        let statements = self.statements.take_stale();
        let output = self.connection.output();
        let result =
            portals.iter().try_for_each(|p| frontend::close(b'P', p, output)).and_then(|()| {
                statements.iter().try_for_each(|s| frontend::close(b'S', &format!("s{s}"), output))
            });
        result.map_err(|e| self.not_sendable(&e))
    }

    pub(super) fn not_sendable(&self, error: &io::Error) -> Error {
        Refusal::new(SqlState::PROTOCOL_VIOLATION, "could not compose a message to another node")
            .with_detail(error.to_string())
            .into()
    }
}

fn join(sql: &mut String, command: &str) {
    if !sql.is_empty() {
        sql.push_str("; ");
    }
    sql.push_str(command);
}

fn isolation_level() -> &'static str {
    // SAFETY: the backend's own variable on its main thread.
    match unsafe { pg_sys::XactIsoLevel } as u32 {
        pg_sys::XACT_SERIALIZABLE => "SERIALIZABLE",
        pg_sys::XACT_REPEATABLE_READ => "REPEATABLE READ",
        _ => "READ COMMITTED",
    }
}

/// Parse, with SQL as bytes: the database need not be UTF-8.
fn write_parse(output: &mut bytes::BytesMut, name: &str, s: &Statement) -> io::Result<()> {
    if s.sql.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "SQL contains a null byte"));
    }
    let len = 4 + name.len() + 1 + s.sql.len() + 1 + 2 + 4 * s.types.len();
    output.put_u8(b'P');
    output.put_i32(length(len)?);
    output.put_slice(name.as_bytes());
    output.put_u8(0);
    output.put_slice(&s.sql);
    output.put_u8(0);
    output.put_u16(count(s.types.len())?);
    for oid in s.types.iter() {
        output.put_u32(*oid);
    }
    Ok(())
}

/// Bind, with parameters that are in wire form already.
fn write_bind(output: &mut bytes::BytesMut, name: &str, r: &Request<'_>) -> io::Result<()> {
    let s = r.statement;
    let formats = &s.parameter_formats;
    let len = 4
        + r.portal.len()
        + 1
        + name.len()
        + 1
        + 2
        + 2 * formats.len()
        + 2
        + r.parameters.len()
        + 2
        + 2 * s.result_formats.len();
    output.put_u8(b'B');
    output.put_i32(length(len)?);
    output.put_slice(r.portal.as_bytes());
    output.put_u8(0);
    output.put_slice(name.as_bytes());
    output.put_u8(0);
    output.put_u16(count(formats.len())?);
    for format in formats.iter() {
        output.put_i16(*format);
    }
    output.put_u16(count(formats.len())?);
    output.put_slice(r.parameters);
    output.put_u16(count(s.result_formats.len())?);
    for format in s.result_formats.iter() {
        output.put_i16(*format);
    }
    Ok(())
}

pub(super) fn length(len: usize) -> io::Result<i32> {
    i32::try_from(len).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "message too long"))
}

fn count(n: usize) -> io::Result<u16> {
    u16::try_from(n)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "more than 65535 parameters"))
}
