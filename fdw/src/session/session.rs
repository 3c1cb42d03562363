//! One connection with its remote transaction.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::rc::{Rc, Weak};
use std::time::Instant;

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

/// What the names of statements that a node prepares begin with. In a node
/// session nobody else may give such a name: who a statement acts as is told by
/// one of them.
pub const RESERVED: &str = "shardman_";

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
    /// What the remote session was last told (see `ClusterMap::opening_statement`)
    /// and still knows: it forgets when a transaction fails.
    pub told: Option<Rc<str>>,
    /// The handshake query, until its answer was checked.
    pub handshake: Option<Ticket>,
    /// A wait for it was interrupted and not resumed.
    pub interrupted: bool,
    /// Of each savepoint: its level, and the request that set it.
    savepoints: Vec<(i32, Ticket)>,
    /// Commands have been appended that the next request's Sync will end.
    has_riders: bool,
    /// SELECTs that had more rows than were asked for when they were sent alone.
    long_answers: VecDeque<Rc<[u8]>>,
    statements: StatementCache,
    in_flight: Vec<(Ticket, u64)>,
    closed_portals: Vec<String>,
    next_portal: u64,
    open_portals: usize,
    waiting: Vec<Weak<Waiting>>,
    /// End of the last remote transaction.
    pub last_used: Instant,
    /// Stays open for the next transaction.
    pub is_kept: bool,
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
            has_riders: false,
            long_answers: VecDeque::new(),
            statements: StatementCache::default(),
            in_flight: Vec::new(),
            closed_portals: Vec::new(),
            next_portal: 0,
            open_portals: 0,
            waiting: Vec::new(),
            last_used: Instant::now(),
            is_kept: true,
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
    pub fn enter_transaction(&mut self, properties: &Rc<str>) -> Result<(), Error> {
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
        if self.depth == 0 {
            self.ride(begin(self.told.is_some()))?;
            self.depth = 1;
            self.transaction += 1;
            self.wrote = false;
        }
        self.tell(properties)?;
        while self.depth < level {
            self.ride(&format!("SAVEPOINT s{}", self.depth + 1))?;
            self.depth += 1;
            let (depth, ticket) = (self.depth, self.connection.next_ticket());
            self.savepoints.retain(|(level, _)| *level < depth);
            self.savepoints.push((depth, ticket));
        }
        Ok(())
    }

    /// The request that the savepoint of a level rode with: what was sent before
    /// it is not undone with it.
    pub fn savepoint(&self, level: i32) -> Option<Ticket> {
        self.savepoints.iter().find(|(depth, _)| *depth == level).map(|(_, ticket)| *ticket)
    }

    /// Tells the remote session `properties` for the one transaction that the
    /// next request is to be: no BEGIN, so that its Sync commits.
    pub fn enter_alone(&mut self, properties: &Rc<str>) -> Result<(), Error> {
        self.check_usable()?;
        if self.depth != 0 {
            return Err(Refusal::internal("a remote transaction is already open").into());
        }
        // What an error kept from being sent.
        self.let_riders_off();
        self.tell(properties)
    }

    /// Has `properties` said in front of the next request, unless they have been.
    fn tell(&mut self, properties: &Rc<str>) -> Result<(), Error> {
        if !properties.is_empty() && self.told.as_ref() != Some(properties) {
            self.ride(properties)?;
            self.told = Some(properties.clone());
        }
        Ok(())
    }

    /// Whether it is known not to pay to send a SELECT alone.
    pub fn has_long_answer(&self, statement: &Statement) -> bool {
        self.long_answers.contains(&statement.sql)
    }

    /// Notes that it did not pay.
    pub fn note_long_answer(&mut self, statement: &Statement) {
        const NOTED: usize = 32;
        self.long_answers.truncate(NOTED - 1);
        self.long_answers.push_front(statement.sql.clone());
    }

    /// Appends a command that runs in front of the next request, whose Sync
    /// ends both: one answer, one wake-up. It is prepared like any statement.
    pub fn ride(&mut self, command: &str) -> Result<(), Error> {
        const NO_ONE: u32 = 0;
        let ticket = self.connection.next_ticket();
        let (name, is_new) = self.look_up(command.as_bytes(), &[], NO_ONE, ticket);
        self.has_riders = true;
        let output = self.connection.output();
        let result = (|| {
            if is_new {
                write_parse(output, &name, command.as_bytes(), &[])?;
            }
            write_bind(output, &name, &[], &[], &[], "")?;
            frontend::execute("", 0, output)
        })();
        result.map_err(|e| self.broken_off(&e))
    }

    /// Ends what rides with a Sync of its own: a simple query follows, which
    /// would be skipped after an error, and with it its answer.
    pub(super) fn let_riders_off(&mut self) {
        if std::mem::take(&mut self.has_riders) {
            frontend::sync(self.connection.output());
            let command = self.told.clone();
            self.connection.expect_detached(command.as_deref().unwrap_or("BEGIN"));
        }
    }

    /// Appends a simple query nobody will collect.
    pub fn simple_detached(&mut self, sql: &str) -> Result<(), Error> {
        self.let_riders_off();
        frontend::query(sql, self.connection.output()).map_err(|e| self.not_sendable(&e))?;
        self.connection.expect_detached(sql);
        Ok(())
    }

    /// Appends a simple query and sends it. Portals are closed first: DDL is
    /// refused on tables that one still reads.
    pub fn simple(&mut self, sql: &str) -> Result<Ticket, Error> {
        self.close_what_is_to_be_closed()?;
        self.let_riders_off();
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
        self.let_riders_off();
        frontend::query("COMMIT", self.connection.output()).map_err(|e| self.not_sendable(&e))?;
        self.connection.expect_farewell("COMMIT");
        self.connection.flush();
        // Whether it succeeds is not known when the session is used next.
        self.forget_failed_transaction();
        Ok(())
    }

    /// Appends Parse if needed, Bind, Execute, Sync, and sends them.
    pub fn request(&mut self, request: &Request<'_>, user: u32) -> Result<Ticket, Error> {
        let ticket = self.compose(request, user, Then::Execute)?;
        self.connection.flush();
        Ok(ticket)
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
        self.has_riders = false;
        let statement = request.statement;
        let (name, parse) = if statement.is_kept {
            self.look_up(&statement.sql, &statement.types, user, ticket)
        } else {
            (String::new(), true)
        };
        let result = (|| {
            let output = self.connection.output();
            if parse {
                write_parse(output, &name, &statement.sql, &statement.types)?;
            }
            let formats = (&*statement.parameter_formats, &*statement.result_formats);
            write_bind(output, &name, formats.0, request.parameters, formats.1, request.portal)?;
            if then == Then::Execute {
                frontend::execute(request.portal, request.max_rows, output)?;
            }
            frontend::sync(output);
            Ok(())
        })();
        result.map_err(|e: io::Error| self.broken_off(&e))?;
        Ok(ticket)
    }

    /// The name of a prepared statement, and whether it has yet to be parsed.
    fn look_up(&mut self, sql: &[u8], types: &[u32], user: u32, ticket: Ticket) -> (String, bool) {
        let connection = &self.connection;
        let is_pending = |t| t == ticket || connection.is_done(t) || connection.is_owed(t);
        let (number, is_new) = match self.statements.look_up(sql, types, user, ticket, is_pending) {
            Lookup::Known(n) => (n, false),
            Lookup::New(n) => (n, true),
        };
        self.in_flight.push((ticket, number));
        (format!("{RESERVED}{number}"), is_new)
    }

    /// Asks for more rows of a portal.
    pub fn continue_portal(&mut self, portal: &str, max_rows: i32) -> Result<Ticket, Error> {
        self.close_what_is_to_be_closed()?;
        let ticket = self.connection.expect();
        self.has_riders = false;
        frontend::execute(portal, max_rows, self.connection.output())
            .map_err(|e| self.not_sendable(&e))?;
        frontend::sync(self.connection.output());
        self.connection.flush();
        Ok(ticket)
    }

    /// The reply, with what it tells about prepared statements taken note of.
    pub fn take(&mut self, ticket: Ticket) -> Option<Reply> {
        let reply = self.connection.take(ticket)?;
        let succeeded = reply.error.is_none();
        let statements = &mut self.statements;
        self.in_flight.retain(|(t, name)| {
            if *t == ticket {
                statements.answered(ticket, *name, succeeded);
            }
            *t != ticket
        });
        Some(reply)
    }

    /// What holds only within one remote transaction, which was committed, or
    /// failed with an answer that has been read.
    pub fn forget_transaction(&mut self) {
        self.last_used = Instant::now();
        self.depth = 0;
        self.wrote = false;
        self.holds = false;
        self.ending = Ending::None;
        self.interrupted = false;
        self.savepoints.clear();
        self.closed_portals.clear();
        self.open_portals = 0;
        self.in_flight.clear();
        self.connection.forget_all();
    }

    /// The same of one that was rolled back, or may have been.
    pub fn forget_failed_transaction(&mut self) {
        self.forget_transaction();
        self.told = None;
    }

    fn close_what_is_to_be_closed(&mut self) -> Result<(), Error> {
        let portals = std::mem::take(&mut self.closed_portals);
        let statements = self.statements.take_stale();
        let output = self.connection.output();
        let result =
            portals.iter().try_for_each(|p| frontend::close(b'P', p, output)).and_then(|()| {
                let close = |s: &u64| frontend::close(b'S', &format!("{RESERVED}{s}"), output);
                statements.iter().try_for_each(close)
            });
        result.map_err(|e| self.not_sendable(&e))
    }

    /// Half a message may be in the output: this connection is of no more use.
    fn broken_off(&mut self, error: &io::Error) -> Error {
        self.connection.give_up("a message could not be composed");
        self.not_sendable(error)
    }

    pub(super) fn not_sendable(&self, error: &io::Error) -> Error {
        Refusal::new(SqlState::PROTOCOL_VIOLATION, "could not compose a message to another node")
            .with_detail(error.to_string())
            .into()
    }
}

/// Naming the level costs the other side more than the rest of BEGIN. A session
/// that was told whom it works for has READ COMMITTED for its default.
fn begin(has_default: bool) -> &'static str {
    // SAFETY: the backend's own variable on its main thread.
    match unsafe { pg_sys::XactIsoLevel } as u32 {
        pg_sys::XACT_SERIALIZABLE => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        pg_sys::XACT_REPEATABLE_READ => "BEGIN ISOLATION LEVEL REPEATABLE READ",
        _ if has_default => "BEGIN",
        _ => "BEGIN ISOLATION LEVEL READ COMMITTED",
    }
}

/// Parse, with SQL as bytes: the database need not be UTF-8.
fn write_parse(
    output: &mut bytes::BytesMut,
    name: &str,
    sql: &[u8],
    types: &[u32],
) -> io::Result<()> {
    if sql.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "SQL contains a null byte"));
    }
    let len = 4 + name.len() + 1 + sql.len() + 1 + 2 + 4 * types.len();
    output.put_u8(b'P');
    output.put_i32(length(len)?);
    output.put_slice(name.as_bytes());
    output.put_u8(0);
    output.put_slice(sql);
    output.put_u8(0);
    output.put_u16(count(types.len())?);
    for oid in types {
        output.put_u32(*oid);
    }
    Ok(())
}

/// Bind, with parameters that are in wire form already.
fn write_bind(
    output: &mut bytes::BytesMut,
    name: &str,
    formats: &[i16],
    parameters: &[u8],
    result_formats: &[i16],
    portal: &str,
) -> io::Result<()> {
    let len = 4
        + portal.len()
        + 1
        + name.len()
        + 1
        + 2
        + 2 * formats.len()
        + 2
        + parameters.len()
        + 2
        + 2 * result_formats.len();
    output.put_u8(b'B');
    output.put_i32(length(len)?);
    output.put_slice(portal.as_bytes());
    output.put_u8(0);
    output.put_slice(name.as_bytes());
    output.put_u8(0);
    output.put_u16(count(formats.len())?);
    for format in formats.iter() {
        output.put_i16(*format);
    }
    output.put_u16(count(formats.len())?);
    output.put_slice(parameters);
    output.put_u16(count(result_formats.len())?);
    for format in result_formats {
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
