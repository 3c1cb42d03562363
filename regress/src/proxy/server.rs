//! A proxy in front of one server.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;

use super::link::Link;
use super::stop::{Held, Moment, Stop};

/// A running proxy: passes everything on, counts round trips, holds or delays
/// the messages it is told to. Dropped, it takes no more connections.
pub struct Proxy {
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
    links: Arc<Mutex<Vec<Arc<Link>>>>,
    orders: Arc<Orders>,
    is_stopped: Arc<AtomicBool>,
    is_refusing: Arc<AtomicBool>,
}

/// What the proxy is to do with which message.
#[derive(Default)]
pub struct Orders {
    stops: Mutex<Vec<Arc<Held>>>,
    delays: Mutex<Vec<(String, Duration)>>,
    refused: Mutex<Vec<u16>>,
}

impl Proxy {
    /// Listens on `address` and passes everything on to `server`.
    pub fn start(address: SocketAddr, server: SocketAddr) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(address).with_context(|| format!("could not listen on {address}"))?;
        let mut proxy = Self {
            address,
            accepting: None,
            links: Arc::default(),
            orders: Arc::default(),
            is_stopped: Arc::default(),
            is_refusing: Arc::default(),
        };
        let links = Arc::clone(&proxy.links);
        let orders = Arc::clone(&proxy.orders);
        let is_stopped = Arc::clone(&proxy.is_stopped);
        let is_refusing = Arc::clone(&proxy.is_refusing);
        proxy.accepting = Some(thread::spawn(move || {
            for client in listener.incoming() {
                if is_stopped.load(Ordering::Relaxed) {
                    return;
                }
                if is_refusing.load(Ordering::Relaxed) {
                    continue;
                }
                // A client whose server cannot be reached sees its connection
                // close, as often as it tries: no news in a test that kills servers.
                let link = client.and_then(|client| {
                    Link::start(client, TcpStream::connect(server)?, Arc::clone(&orders))
                });
                if let Ok(link) = link {
                    lock(&links).push(Arc::clone(&link));
                    // It may have been told to close such links before it had this one.
                    if link.origin().is_some_and(|node| orders.refuses(node)) {
                        link.close();
                    }
                }
            }
        }));
        Ok(proxy)
    }

    /// Flights of each connection until now; later connections come at the end.
    /// None for those of the metadata log.
    pub fn flights(&self) -> Vec<Option<u64>> {
        lock(&self.links).iter().map(|link| link.flights()).collect()
    }

    /// Holds the next message that runs SQL with `part` in it, once.
    pub fn stop_at(&self, part: &str, moment: Moment) -> Stop {
        self.stop(Stop::new(part, false, moment))
    }

    /// The same for SQL that is this text and no more.
    pub fn stop_at_exactly(&self, sql: &str, moment: Moment) -> Stop {
        self.stop(Stop::new(sql, true, moment))
    }

    fn stop(&self, (stop, held): (Stop, Arc<Held>)) -> Stop {
        lock(&self.orders.stops).push(held);
        stop
    }

    /// Closes all connections and takes no more until told otherwise: nobody
    /// reaches the server, which reaches the others.
    pub fn refuse(&self, is_refusing: bool) {
        self.is_refusing.store(is_refusing, Ordering::Relaxed);
        if is_refusing {
            lock(&self.links).iter().for_each(|link| link.close());
        }
    }

    /// Closes the connections of these nodes, which are told by their names, and
    /// takes no more of them until told otherwise.
    pub fn refuse_nodes(&self, nodes: &[u16]) {
        *lock(&self.orders.refused) = nodes.to_vec();
        let is_refused = |link: &&Arc<Link>| link.origin().is_some_and(|it| nodes.contains(&it));
        lock(&self.links).iter().filter(is_refused).for_each(|link| link.close());
    }

    /// Delays every message that runs SQL with `part` in it.
    pub fn delay(&self, part: &str, by: Duration) {
        lock(&self.orders.delays).push((part.to_owned(), by));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts, which then gives the port back.
        TcpStream::connect(self.address).ok();
        if let Some(accepting) = self.accepting.take() {
            accepting.join().ok();
        }
    }
}

impl Orders {
    /// The stops that this text meets; each is met once.
    pub fn stops_for(&self, sql: &str) -> Vec<Arc<Held>> {
        let mut stops = lock(&self.stops);
        let (met, left) =
            std::mem::take(&mut *stops).into_iter().partition(|stop| stop.waits_for(sql));
        *stops = left;
        met
    }

    /// A stop that a message met which then came to nothing.
    pub fn put_back(&self, stop: Arc<Held>) {
        lock(&self.stops).push(stop);
    }

    /// Whether connections of this node are to be closed.
    pub fn refuses(&self, node: u16) -> bool {
        lock(&self.refused).contains(&node)
    }

    /// How long this text is to be delayed.
    pub fn delay_for(&self, sql: &str) -> Option<Duration> {
        let delays = lock(&self.delays);
        delays.iter().find(|(part, _)| sql.contains(part)).map(|(_, by)| *by)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    const BOUND: Duration = Duration::from_secs(10);
    const STARTUP: &[u8] = &[0, 0, 0, 8, 0, 3, 0, 0];
    const READY: &[u8] = b"Z\0\0\0\x05I";
    const QUERY: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

    /// A client is connected, its server speaks once and is then gone or not.
    fn connect(proxy: &Proxy, server: &TcpListener) -> anyhow::Result<(TcpStream, TcpStream)> {
        let mut client = TcpStream::connect(proxy.address)?;
        client.set_read_timeout(Some(BOUND))?;
        client.write_all(STARTUP)?;
        let (mut session, _) = server.accept()?;
        session.read_exact(&mut [0; STARTUP.len()])?;
        session.write_all(READY)?;
        client.read_exact(&mut [0; READY.len()])?;
        Ok((client, session))
    }

    #[test]
    fn a_request_that_no_server_gets_meets_no_stop() -> anyhow::Result<()> {
        for moment in [Moment::Request, Moment::Reply] {
            let server = TcpListener::bind("127.0.0.1:0")?;
            let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            let proxy = Proxy::start(free, server.local_addr()?)?;
            let (mut client, session) = connect(&proxy, &server)?;
            drop(session);
            // The proxy has seen the end when its client does.
            assert_eq!(client.read(&mut [0])?, 0);
            let stop = proxy.stop_at("COMMIT", moment);
            client.write_all(QUERY)?;
            drop(client);
            let (mut client, mut session) = connect(&proxy, &server)?;
            client.write_all(QUERY)?;
            if moment == Moment::Reply {
                session.read_exact(&mut [0; QUERY.len()])?;
                session.write_all(READY)?;
            }
            stop.wait(BOUND)?;
        }
        Ok(())
    }
}
