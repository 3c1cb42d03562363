//! Asking this node's worker, from a backend.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use pgrx::prelude::*;
use raft::{
    FrameReader, RaftError, Request, Response, SOCKET_NAME, decode_response, encode_request,
};

use crate::membership;
use crate::report::Report;
use crate::schema_change::REJOIN;

/// Longer than anything the worker itself allows a request to take.
const PATIENCE: Duration = Duration::from_secs(90);

struct Line {
    stream: UnixStream,
    reader: FrameReader,
}

thread_local! {
    /// Kept between requests; taken out while one is under way, so that an
    /// interrupted request leaves no half-read answer to the next one.
    static LINE: RefCell<Option<Line>> = const { RefCell::new(None) };
}

/// Sends a request and waits for the answer. Answers to cancel.
pub fn ask(request: &Request) -> Result<Response, Report> {
    Ok(try_ask(request)??)
}

/// The same; the inner error is the metadata log's own answer.
pub fn try_ask(request: &Request) -> Result<Result<Response, RaftError>, Report> {
    let bytes = encode_request(request)?;
    let kept = LINE.with_borrow_mut(Option::take);
    if let Some(mut line) = kept
        && let Ok(answer) = line.call(&bytes)
    {
        LINE.set(Some(line));
        return Ok(answer);
    }
    // No line, or one whose worker was started anew: nothing was answered on
    // it. A request that changes the log is guarded by the state machine.
    let mut line = Line::open().map_err(unreachable_worker)?;
    let answer = line.call(&bytes).map_err(unreachable_worker)?;
    LINE.set(Some(line));
    Ok(answer)
}

/// Sends a request whose answer nobody waits for; it may get lost. Raises
/// nothing: transaction callbacks call it.
pub fn tell(request: &Request) {
    let Ok(bytes) = encode_request(request) else { return };
    let kept = LINE.try_with(|line| line.try_borrow_mut().ok()?.take()).ok().flatten();
    let sent = kept.is_some_and(|mut line| line.stream.write_all(&bytes).is_ok());
    if !sent && let Ok(mut line) = Line::open() {
        line.stream.write_all(&bytes).ok();
    }
    // The line goes with its answer.
}

impl Line {
    fn open() -> std::io::Result<Self> {
        let stream = UnixStream::connect(membership::folder().join(SOCKET_NAME))?;
        stream.set_nonblocking(true)?;
        Ok(Line { stream, reader: FrameReader::new() })
    }

    fn call(&mut self, mut request: &[u8]) -> std::io::Result<Result<Response, RaftError>> {
        let deadline = Instant::now() + PATIENCE;
        while !request.is_empty() {
            match self.stream.write(request) {
                Ok(written) => request = &request[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(pg_sys::WL_SOCKET_WRITEABLE, deadline)?;
                }
                Err(error) => return Err(error),
            }
        }
        let mut chunk = [0; 8192];
        loop {
            match self.reader.next_frame() {
                Ok(Some(frame)) => return Ok(decode_response(&frame)),
                Ok(None) => {}
                Err(error) => return Ok(Err(error)),
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.reader.extend(&chunk[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(pg_sys::WL_SOCKET_READABLE, deadline)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the socket; raises what CHECK_FOR_INTERRUPTS raises.
    fn wait(&self, direction: u32, deadline: Instant) -> std::io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let events =
            direction | pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        // SAFETY: MyLatch is this backend's latch; the socket is open.
        unsafe {
            pg_sys::WaitLatchOrSocket(
                pg_sys::MyLatch,
                events as i32,
                self.stream.as_raw_fd(),
                left.as_millis() as i64,
                pg_sys::PG_WAIT_EXTENSION,
            );
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
        pgrx::check_for_interrupts!();
        Ok(())
    }
}

fn unreachable_worker(error: std::io::Error) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_CANNOT_CONNECT_NOW,
        "could not reach this node's metadata worker",
    )
    .detail(error.to_string())
    .hint("It starts within a second of the server; look at the server log if it does not.")
}

impl From<RaftError> for Report {
    fn from(error: RaftError) -> Self {
        use PgSqlErrorCode::*;
        let message = error.to_string();
        let (code, hint) = match &error {
            RaftError::NotMember => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "Create a cluster with shardman.create_cluster(), or join one with shardman.join_cluster().",
            ),
            RaftError::AlreadyMember { .. } => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "A server belongs to one cluster at a time.",
            ),
            RaftError::NoLeader | RaftError::NotLeader => (
                ERRCODE_CANNOT_CONNECT_NOW,
                "A majority of the voters must be up and reach each other. Try again.",
            ),
            RaftError::Timeout { .. } => (
                ERRCODE_CANNOT_CONNECT_NOW,
                "Look at shardman.raft_status on every node, and try again.",
            ),
            RaftError::OutcomeUnknown => (
                ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN,
                "Look at shardman.nodes before trying again.",
            ),
            RaftError::Unreachable { .. } => {
                (ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION, "Is the node up?")
            }
            RaftError::Malformed { .. }
            | RaftError::WrongFormat { .. }
            | RaftError::TooLarge { .. } => {
                (ERRCODE_PROTOCOL_VIOLATION, "All nodes must run the same version of shardman.")
            }
            RaftError::Removed { .. } | RaftError::OldCopy { .. } => {
                (ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, REJOIN)
            }
            RaftError::Unrecognised { .. } => (
                ERRCODE_CANNOT_CONNECT_NOW,
                "It was started a moment ago, or cannot reach a majority of the voters. Try again.",
            ),
            RaftError::Storage { .. } => (ERRCODE_IO_ERROR, "Look at the server log."),
            _ => (ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "Look at shardman.raft_status."),
        };
        Report::new(code, message).hint(hint)
    }
}

/// What the log has decided, as this node has applied it: as soon as something
/// behind `beyond` is applied, or after `timeout`. Answers to cancel.
pub fn ask_log(
    beyond: cluster::LogIndex,
    timeout: Duration,
) -> Result<(cluster::LogIndex, cluster::metadata::Metadata), Report> {
    let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    match ask(&Request::AwaitMetadata { beyond, timeout_ms })? {
        Response::Metadata { index, metadata } => Ok((index, metadata)),
        _ => Err(Report::new(
            PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
            "the metadata worker gave an unexpected answer",
        )),
    }
}
