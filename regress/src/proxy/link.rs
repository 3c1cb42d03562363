//! One connection through a proxy: two threads that pass messages on.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::framing::{Framing, Message, Side};
use super::server::Orders;
use super::statements::{Statements, asks_for_ready, origin};
use super::stop::{Held, Moment};

/// What the metadata log sends to other nodes all the time; its connections
/// are not counted.
const LOG_TRAFFIC: &[u8] = b"raft_rpc";

/// A client-to-server connection. Everything that the client sends until the
/// server answers is one flight, however many messages and packets it is: the
/// number of flights is the number of round trips.
pub struct Link {
    state: Mutex<State>,
    ends: [TcpStream; 2],
}

#[derive(Default)]
struct State {
    flights: u64,
    is_client_speaking: bool,
    is_log_traffic: bool,
    /// The node that opened it, if it is one.
    origin: Option<u16>,
    /// How often the client has asked for ReadyForQuery; the start-up is one.
    asked: u64,
    /// How often the server has said it.
    answered: u64,
    /// Replies to hold, and how often the server has said ReadyForQuery before.
    replies: Vec<(u64, Arc<Held>)>,
    /// The server has closed it. The client may not know yet.
    is_over: bool,
}

impl Link {
    /// Passes messages on in threads of its own until one side closes.
    pub fn start(
        client: TcpStream,
        server: TcpStream,
        orders: Arc<Orders>,
    ) -> io::Result<Arc<Self>> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let state = Mutex::new(State { asked: 1, ..State::default() });
        let link = Arc::new(Self { state, ends: [client.try_clone()?, server.try_clone()?] });
        let (from_client, to_client) = (client.try_clone()?, client);
        let (from_server, to_server) = (server.try_clone()?, server);
        let ending = Arc::clone(&orders);
        let requests = Arc::clone(&link);
        thread::spawn(move || requests.pass_requests(from_client, to_server, &orders));
        let replies = Arc::clone(&link);
        thread::spawn(move || replies.pass_replies(from_server, to_client, &ending));
        Ok(link)
    }

    /// Flights until now; none for a connection of the metadata log.
    pub fn flights(&self) -> Option<u64> {
        let state = self.lock();
        (!state.is_log_traffic).then_some(state.flights)
    }

    /// The node that opened it, if one has.
    pub fn origin(&self) -> Option<u16> {
        self.lock().origin
    }

    /// Cuts it.
    pub fn close(&self) {
        for end in &self.ends {
            end.shutdown(Shutdown::Both).ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass_requests(&self, mut client: TcpStream, mut server: TcpStream, orders: &Orders) {
        let mut statements = Statements::default();
        pass(&mut client, &mut server, Framing::new(Side::Frontend), |event| match event {
            Event::Arrived(bytes) => {
                self.lock().client_spoke(bytes);
                true
            }
            Event::Message(message) => match statements.run_by(message) {
                Some(sql) => self.request(&sql, message, orders),
                None if message.kind == 0 && self.is_refused(message, orders) => false,
                None => {
                    self.lock().note_request(message);
                    true
                }
            },
            Event::End => true,
        });
    }

    /// Whether a message opens a connection of a node that is to have none. It
    /// is noted before it is asked: who closes connections sees this one, or
    /// this sees that they are closed.
    fn is_refused(&self, message: &Message, orders: &Orders) -> bool {
        let Some(node) = origin(message) else { return false };
        self.lock().origin = Some(node);
        orders.refuses(node)
    }

    /// What is to happen before a statement reaches the server; false to cut.
    fn request(&self, sql: &str, message: &Message, orders: &Orders) -> bool {
        for stop in orders.stops_for(sql) {
            let mut state = self.lock();
            if state.is_over {
                // Nobody gets this request; the stop is for one that somebody gets.
                orders.put_back(stop);
                continue;
            }
            match stop.moment() {
                Moment::Request => {
                    drop(state);
                    if !stop.hold() {
                        return false;
                    }
                }
                Moment::Reply => {
                    let before = state.asked;
                    state.replies.push((before, stop));
                }
            }
        }
        if let Some(delay) = orders.delay_for(sql) {
            thread::sleep(delay);
        }
        self.lock().note_request(message);
        true
    }

    fn pass_replies(&self, mut server: TcpStream, mut client: TcpStream, orders: &Orders) {
        pass(&mut server, &mut client, Framing::new(Side::Backend), |event| match event {
            Event::Arrived(_) => {
                self.lock().is_client_speaking = false;
                true
            }
            Event::Message(message) => {
                let goes_on = self.due_replies().iter().all(|stop| stop.hold());
                if message.kind == b'Z' {
                    self.lock().answered += 1;
                }
                goes_on
            }
            Event::End => {
                let mut state = self.lock();
                state.is_over = true;
                // Replies that never came.
                let replies = std::mem::take(&mut state.replies);
                replies.into_iter().for_each(|(_, stop)| orders.put_back(stop));
                true
            }
        });
    }

    /// The stops at whose reply the server is now.
    fn due_replies(&self) -> Vec<Arc<Held>> {
        let mut state = self.lock();
        let answered = state.answered;
        let (due, later) =
            std::mem::take(&mut state.replies).into_iter().partition(|(at, _)| answered >= *at);
        state.replies = later;
        let due: Vec<(u64, Arc<Held>)> = due;
        due.into_iter().map(|(_, stop)| stop).collect()
    }
}

impl State {
    fn client_spoke(&mut self, bytes: &[u8]) {
        if !self.is_client_speaking {
            self.flights += 1;
        }
        self.is_client_speaking = true;
        self.is_log_traffic |= bytes.windows(LOG_TRAFFIC.len()).any(|part| part == LOG_TRAFFIC);
    }

    fn note_request(&mut self, message: &Message) {
        self.asked += u64::from(asks_for_ready(message));
    }
}

enum Event<'a> {
    /// Seen before anyone can answer it.
    Arrived(&'a [u8]),
    /// About to be passed on.
    Message(&'a Message),
    /// Nothing comes any more. The other side does not know yet.
    End,
}

/// Passes messages on until one side closes or `sees` says to cut.
fn pass(
    from: &mut TcpStream,
    to: &mut TcpStream,
    mut framing: Framing,
    mut sees: impl FnMut(Event<'_>) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut out = Vec::new();
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        sees(Event::Arrived(&buffer[..length]));
        framing.push(&buffer[..length]);
        out.clear();
        while let Some(message) = framing.next() {
            // What comes before a message that may be held leaves at once.
            if !out.is_empty() && to.write_all(&out).is_err() {
                break;
            }
            out.clear();
            if !sees(Event::Message(&message)) {
                sees(Event::End);
                from.shutdown(Shutdown::Both).ok();
                to.shutdown(Shutdown::Both).ok();
                return;
            }
            out.extend_from_slice(&message.bytes);
        }
        if to.write_all(&out).is_err() {
            break;
        }
    }
    sees(Event::End);
    // The other direction may still have something to say.
    to.shutdown(Shutdown::Write).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flights_are_changes_of_direction() {
        let mut state = State::default();
        state.client_spoke(b"parse");
        state.client_spoke(b"sync");
        state.is_client_speaking = false;
        state.client_spoke(b"query");
        assert_eq!((state.flights, state.is_log_traffic), (2, false));
        state.client_spoke(b"SELECT shardman.raft_rpc($1)");
        assert!(state.is_log_traffic);
    }
}
