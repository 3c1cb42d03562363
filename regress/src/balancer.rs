//! One address for several servers, as a load balancer gives it to applications.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Takes connections and leads each to the next server in turn, unread; dropped,
/// it takes no more of them.
pub struct Balancer {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Balancer {
    /// For servers of this machine, by their ports.
    pub fn start(servers: Vec<u16>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let turns = servers.iter().cycle();
            for (client, port) in listener.incoming().zip(turns) {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                // Whoever finds no server is told by the end of the connection.
                if let Ok(client) = client
                    && let Err(error) = lead(client, *port)
                {
                    eprintln!("no way to the server on port {port}: {error}");
                }
            }
        });
        Ok(Self { address, is_over, thread: Some(thread) })
    }

    /// Where it takes connections.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread, which waits for connections.
        TcpStream::connect(self.address).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn lead(client: TcpStream, port: u16) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    pass(client.try_clone()?, server.try_clone()?);
    pass(server, client);
    Ok(())
}

/// Passes on what comes until one side closes.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        // A connection that breaks ends like one that is closed.
        io::copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Both).ok();
        from.shutdown(Shutdown::Both).ok();
    });
}
