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
                    lock(&links).push(link);
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

    /// How long this text is to be delayed.
    pub fn delay_for(&self, sql: &str) -> Option<Duration> {
        let delays = lock(&self.delays);
        delays.iter().find(|(part, _)| sql.contains(part)).map(|(_, by)| *by)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
