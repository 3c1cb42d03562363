//! A TCP proxy that counts how often a client waits for its server.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Context;

/// What the metadata log sends to other nodes all the time; its connections
/// are not counted.
const LOG_TRAFFIC: &[u8] = b"raft_rpc";

/// A running proxy; dropped, it takes no more connections.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// One client-to-server connection. Everything that the client sends until the
/// server answers is one flight, however many messages and packets it is: the
/// number of flights is the number of round trips.
#[derive(Default)]
struct Connection {
    flights: u64,
    is_client_speaking: bool,
    is_log_traffic: bool,
}

#[derive(Default)]
struct Shared {
    connections: Mutex<Vec<Connection>>,
    is_stopped: AtomicBool,
}

impl Proxy {
    /// Listens on `address` and passes everything on to `server`.
    pub fn start(address: SocketAddr, server: SocketAddr) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(address).with_context(|| format!("could not listen on {address}"))?;
        let shared = Arc::new(Shared::default());
        let proxy = Self { address, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for client in listener.incoming() {
                if shared.is_stopped.load(Ordering::Relaxed) {
                    return;
                }
                // A client whose server cannot be reached sees its connection close.
                if let Err(error) = client.and_then(|client| shared.connect(client, server)) {
                    eprintln!("proxy to {server}: {error}");
                }
            }
        });
        Ok(proxy)
    }

    /// Flights of each connection until now; later connections come at the end.
    /// None for those of the metadata log.
    pub fn flights(&self) -> Vec<Option<u64>> {
        let connections = self.shared.lock();
        connections.iter().map(|c| (!c.is_log_traffic).then_some(c.flights)).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        TcpStream::connect(self.address).ok();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(self: &Arc<Self>, client: TcpStream, server: SocketAddr) -> io::Result<()> {
        let server = TcpStream::connect(server)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let index = {
            let mut connections = self.lock();
            connections.push(Connection::default());
            connections.len() - 1
        };
        let (from_client, to_client) = (client.try_clone()?, client);
        let (from_server, to_server) = (server.try_clone()?, server);
        let shared = Arc::clone(self);
        thread::spawn(move || {
            pump(from_client, to_server, |bytes| shared.lock()[index].client_spoke(bytes));
        });
        let shared = Arc::clone(self);
        thread::spawn(move || {
            pump(from_server, to_client, |_| shared.lock()[index].is_client_speaking = false);
        });
        Ok(())
    }
}

impl Connection {
    fn client_spoke(&mut self, bytes: &[u8]) {
        if !self.is_client_speaking {
            self.flights += 1;
        }
        self.is_client_speaking = true;
        self.is_log_traffic |= bytes.windows(LOG_TRAFFIC.len()).any(|part| part == LOG_TRAFFIC);
    }
}

/// Passes bytes on until one side closes; `note` sees them first, so that a
/// flight is counted before anyone can answer it.
fn pump(mut from: TcpStream, mut to: TcpStream, note: impl Fn(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        note(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The other direction may still have something to say.
    to.shutdown(Shutdown::Write).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flights_are_changes_of_direction() {
        let mut connection = Connection::default();
        connection.client_spoke(b"parse");
        connection.client_spoke(b"sync");
        connection.is_client_speaking = false;
        connection.client_spoke(b"query");
        assert_eq!((connection.flights, connection.is_log_traffic), (2, false));
        connection.client_spoke(b"SELECT shardman.raft_rpc($1)");
        assert!(connection.is_log_traffic);
    }
}
