//! One established connection: output, input, and the replies that are owed.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use postgres_protocol::message::backend::Message;

use super::stream::Stream;
use super::wait::{Readiness, WaitSet};
use super::{Address, Interrupts, Reply, RowBuffer, Stop};
use crate::error::RemoteError;

/// Names one request of a connection; later requests have greater numbers.
pub type Ticket = u64;

/// Bytes asked of the kernel at once.
const READ_SIZE: usize = 16 * 1024;

/// A request whose ReadyForQuery has not come yet.
struct Owed {
    ticket: Ticket,
    reply: Reply,
    /// Nobody will collect it; its error is kept as the connection's.
    detached: Option<String>,
    /// It belongs to a transaction that is over here: its error is a warning.
    is_farewell: bool,
}

/// A connection that has passed authentication.
pub struct Connection {
    // Field order: the wait set goes before the socket it watches.
    wait: WaitSet,
    stream: Stream,
    address: Address,
    process_id: i32,
    secret_key: i32,
    output: BytesMut,
    input: BytesMut,
    /// Where the kernel puts what is read; never grows.
    landing: Box<[u8]>,
    next_ticket: Ticket,
    owed: VecDeque<Owed>,
    done: VecDeque<(Ticket, Reply)>,
    notices: Vec<RemoteError>,
    detached_failure: Option<(String, RemoteError)>,
    /// Why the remote transaction is aborted, if a reply has told.
    abort_reason: Option<RemoteError>,
    lost: Option<String>,
}

impl Connection {
    pub(super) fn established(
        wait: WaitSet,
        stream: Stream,
        address: Address,
        key: (i32, i32),
        input: BytesMut,
    ) -> Connection {
        Connection {
            wait,
            stream,
            address,
            process_id: key.0,
            secret_key: key.1,
            output: BytesMut::with_capacity(8 * 1024),
            input,
            landing: vec![0; READ_SIZE].into_boxed_slice(),
            next_ticket: 1,
            owed: VecDeque::new(),
            done: VecDeque::new(),
            notices: Vec::new(),
            detached_failure: None,
            abort_reason: None,
            lost: None,
        }
    }

    /// Where requests are appended, in protocol messages.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Declares that the messages appended since the last call are one request
    /// that ends in one ReadyForQuery and whose reply will be collected.
    pub fn expect(&mut self) -> Ticket {
        self.owe(None)
    }

    /// What [`Connection::expect`] will return next.
    pub fn next_ticket(&self) -> Ticket {
        self.next_ticket
    }

    /// The same for a request that nobody collects. If it fails, that failure
    /// is found by [`Connection::take_detached_failure`].
    pub fn expect_detached(&mut self, command: &str) -> Ticket {
        self.owe(Some(command.to_string()))
    }

    /// The same for the last request of a transaction whose end here does not
    /// depend on it. If it fails, that comes as a WARNING among the notices.
    pub fn expect_farewell(&mut self, command: &str) {
        self.owe(Some(command.to_string()));
        if let Some(owed) = self.owed.back_mut() {
            owed.is_farewell = true;
        }
    }

    fn owe(&mut self, detached: Option<String>) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.owed.push_back(Owed { ticket, reply: Reply::default(), detached, is_farewell: false });
        ticket
    }

    /// Turns a request that was to be collected into a detached one whose
    /// failure interests nobody.
    pub fn forget(&mut self, ticket: Ticket) {
        self.done.retain(|(t, _)| *t != ticket);
        if let Some(owed) = self.owed.iter_mut().find(|o| o.ticket == ticket) {
            owed.detached = Some(String::new());
        }
    }

    /// True while replies are owed.
    pub fn is_busy(&self) -> bool {
        !self.owed.is_empty()
    }

    /// The reason if the connection is gone.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Declares it gone.
    pub fn give_up(&mut self, reason: &str) {
        self.lost.get_or_insert_with(|| reason.to_string());
    }

    /// Notices since the last call.
    pub fn take_notices(&mut self) -> Vec<RemoteError> {
        std::mem::take(&mut self.notices)
    }

    /// The first failure of a detached request since the last call, with its
    /// command.
    pub fn take_detached_failure(&mut self) -> Option<(String, RemoteError)> {
        self.detached_failure.take()
    }

    /// What made the remote transaction refuse all further commands: of two
    /// requests under way the second one's answer may be asked for first.
    pub fn abort_reason(&self) -> Option<&RemoteError> {
        self.abort_reason.as_ref()
    }

    /// Forgets it: a savepoint was rolled back.
    pub fn forget_abort_reason(&mut self) {
        self.abort_reason = None;
    }

    /// For cancel requests: address, process id, secret key.
    pub fn cancel_key(&self) -> (Address, i32, i32) {
        (self.address.clone(), self.process_id, self.secret_key)
    }

    /// The reply, if it is complete; at most once.
    pub fn take(&mut self, ticket: Ticket) -> Option<Reply> {
        let at = self.done.iter().position(|(t, _)| *t == ticket)?;
        self.done.remove(at).map(|(_, reply)| reply)
    }

    /// True if the reply is complete.
    pub fn is_done(&self, ticket: Ticket) -> bool {
        self.done.iter().any(|(t, _)| *t == ticket)
    }

    /// True if its reply is still to come.
    pub fn is_owed(&self, ticket: Ticket) -> bool {
        self.owed.iter().any(|o| o.ticket == ticket)
    }

    /// Drops replies that nobody came for.
    pub fn forget_all(&mut self) {
        self.abort_reason = None;
        self.done.clear();
        for owed in &mut self.owed {
            owed.detached.get_or_insert_default();
        }
    }

    /// Sends what the kernel takes. A failure is remembered as loss.
    pub fn flush(&mut self) {
        while !self.output.is_empty() && self.lost.is_none() {
            match self.stream.write(&self.output) {
                Ok(0) => self.give_up("the server closed the connection"),
                Ok(n) => self.output.advance(n),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    // What the server said before it closed tells more.
                    self.receive();
                    self.give_up(&e.to_string());
                }
            }
        }
    }

    /// Takes what the kernel has. One read unless it filled the buffer.
    pub fn receive(&mut self) {
        while self.receive_once() {}
    }

    /// One read. Whether it filled the buffer: then there is more.
    fn receive_once(&mut self) -> bool {
        match self.stream.read(&mut self.landing) {
            Ok(0) => {
                self.parse();
                self.give_up("the server closed the connection unexpectedly");
                false
            }
            Ok(n) => {
                self.input.extend_from_slice(&self.landing[..n]);
                self.parse();
                n == READ_SIZE
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => false,
            Err(e) if e.kind() == ErrorKind::Interrupted => true,
            Err(e) => {
                self.give_up(&e.to_string());
                false
            }
        }
    }

    /// The socket, and the events to watch for by whoever waits elsewhere than
    /// here. Sends first what the kernel takes.
    pub fn socket_to_watch(&mut self) -> (i32, u32) {
        self.flush();
        (self.stream.raw_fd(), self.readiness().mask())
    }

    /// Waits until the reply is complete.
    pub fn wait_for(
        &mut self,
        ticket: Ticket,
        deadline: Option<Instant>,
        interrupts: Interrupts,
    ) -> Result<(), Stop> {
        self.wait_until(deadline, interrupts, |c| c.is_done(ticket))
    }

    /// Waits until COPY data of this request have come, or its reply is complete.
    /// Reads as little as it can: the server waits for whoever is slow.
    pub fn wait_for_data(&mut self, ticket: Ticket, interrupts: Interrupts) -> Result<(), Stop> {
        loop {
            let has_data =
                self.owed.iter().any(|owed| owed.ticket == ticket && owed.reply.rows.len() > 0);
            if has_data || self.is_done(ticket) {
                return Ok(());
            }
            self.flush();
            if let Some(reason) = &self.lost {
                return Err(Stop::Lost(reason.clone()));
            }
            self.wait.wait(self.readiness(), None, interrupts)?;
            self.receive_once();
        }
    }

    /// COPY data of this request that have come since the last call.
    pub fn take_data(&mut self, ticket: Ticket) -> RowBuffer {
        let owed = self.owed.iter_mut().find(|owed| owed.ticket == ticket);
        let owed = owed.map(|owed| &mut owed.reply);
        let done = self.done.iter_mut().find(|(done, _)| *done == ticket).map(|(_, reply)| reply);
        owed.or(done).map(|reply| std::mem::take(&mut reply.rows)).unwrap_or_default()
    }

    /// Waits until no reply is owed.
    pub fn wait_idle(
        &mut self,
        deadline: Option<Instant>,
        interrupts: Interrupts,
    ) -> Result<(), Stop> {
        self.wait_until(deadline, interrupts, |c| c.owed.is_empty())
    }

    /// Waits until every request before `ticket` is answered.
    pub fn wait_for_all_before(
        &mut self,
        ticket: Ticket,
        deadline: Option<Instant>,
        interrupts: Interrupts,
    ) -> Result<(), Stop> {
        self.wait_until(deadline, interrupts, |c| c.owed.front().is_none_or(|o| o.ticket >= ticket))
    }

    fn wait_until(
        &mut self,
        deadline: Option<Instant>,
        interrupts: Interrupts,
        finished: impl Fn(&Connection) -> bool,
    ) -> Result<(), Stop> {
        loop {
            if finished(self) {
                return Ok(());
            }
            self.flush();
            if let Some(reason) = &self.lost {
                return Err(Stop::Lost(reason.clone()));
            }
            self.wait.wait(self.readiness(), deadline, interrupts)?;
            self.receive();
        }
    }

    fn readiness(&self) -> Readiness {
        if self.output.is_empty() { Readiness::Read } else { Readiness::ReadOrWrite }
    }

    /// Looks, without waiting, whether an idle connection has died meanwhile.
    pub fn check_alive(&mut self) -> bool {
        self.receive();
        self.lost.is_none()
    }

    /// Says good-bye as far as the kernel takes it.
    pub fn terminate(&mut self) {
        if self.lost.is_none() {
            postgres_protocol::message::frontend::terminate(&mut self.output);
            self.flush();
            self.give_up("closed");
        }
    }

    fn parse(&mut self) {
        while self.lost.is_none() {
            // Rows and COPY data are by far the most frequent: copied straight to their
            // reply.
            if let Some(kind @ (b'D' | b'd')) = self.input.first().copied()
                && let Some(len) = self.input.get(1..5)
            {
                let len = u32::from_be_bytes([len[0], len[1], len[2], len[3]]) as usize;
                let Some(body) = self.input.get(5..1 + len) else {
                    self.input.reserve((1 + len).saturating_sub(self.input.len()));
                    return;
                };
                // COPY does not end by itself when nobody wants its data any more.
                if let Some(owed) = self.owed.front_mut()
                    && (kind == b'D' || owed.detached.is_none())
                {
                    owed.reply.rows.push(body);
                }
                self.input.advance(1 + len);
                continue;
            }
            match Message::parse(&mut self.input) {
                Ok(None) => return,
                Ok(Some(message)) => {
                    if let Err(e) = self.accept(message) {
                        self.give_up(&format!("malformed message: {e}"));
                    }
                }
                Err(e) => self.give_up(&format!("malformed message: {e}")),
            }
        }
    }

    fn accept(&mut self, message: Message) -> std::io::Result<()> {
        match message {
            Message::NoticeResponse(body) => {
                // Bounded: a remote function may raise notices without end.
                if self.notices.len() < 1000 {
                    self.notices.push(RemoteError::read(body.fields())?);
                }
            }
            Message::ParameterStatus(_) | Message::NotificationResponse(_) => {}
            Message::ErrorResponse(body) => {
                let error = RemoteError::read(body.fields())?;
                if error.ends_the_session() {
                    self.give_up(&String::from_utf8_lossy(&error.message));
                } else if let Some(owed) = self.owed.front_mut() {
                    owed.reply.error.get_or_insert(error);
                } else {
                    self.give_up(&String::from_utf8_lossy(&error.message));
                }
            }
            Message::ReadyForQuery(_) => self.complete(),
            other => {
                let Some(owed) = self.owed.front_mut() else {
                    self.give_up("the server sent a reply to no request");
                    return Ok(());
                };
                let reply = &mut owed.reply;
                match other {
                    Message::ParseComplete => reply.parsed = true,
                    Message::BindComplete => reply.bound = true,
                    Message::PortalSuspended => reply.suspended = true,
                    Message::CommandComplete(body) => reply.tag = Some(body.tag()?.to_string()),
                    // COPY's data are sent without waiting to be asked for them.
                    Message::CopyInResponse(_)
                    | Message::CopyOutResponse(_)
                    | Message::CopyDone
                    | Message::CloseComplete
                    | Message::EmptyQueryResponse
                    | Message::NoData
                    | Message::ParameterDescription(_)
                    | Message::RowDescription(_) => {}
                    _ => self.give_up("the server sent an unexpected message"),
                }
            }
        }
        Ok(())
    }

    fn complete(&mut self) {
        let Some(owed) = self.owed.pop_front() else {
            self.give_up("the server sent a reply to no request");
            return;
        };
        match owed.detached {
            None => {
                if self.abort_reason.is_none() {
                    self.abort_reason.clone_from(&owed.reply.error);
                }
                self.done.push_back((owed.ticket, owed.reply));
            }
            Some(command) => match owed.reply.error {
                Some(mut error) if owed.is_farewell => {
                    error.severity = "WARNING".to_string();
                    self.notices.push(error);
                }
                Some(error) if !command.is_empty() => {
                    self.detached_failure.get_or_insert((command, error));
                }
                _ => {}
            },
        }
    }
}
