//! Gives each session of an isolation spec a node of its own.
//!
//! `isolationtester` opens all its connections, the controlling one and then one
//! for each session in order, with the same connection string. They come here, and
//! the k-th session of a spec is passed on to node k. Specs are told apart by the
//! application name in the start-up message.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use anyhow::Context;

const CANCEL_REQUEST: u32 = 80_877_102;

/// Listens as long as this process lives.
pub struct Dispatcher {
    port: u16,
}

impl Dispatcher {
    /// Passes connections on to servers on these local ports.
    pub fn start(nodes: Vec<u16>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let counts = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (nodes, counts) = (nodes.clone(), counts.clone());
                std::thread::spawn(move || serve(client, &nodes, &counts).ok());
            }
        });
        Ok(Self { port })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn serve(
    mut client: TcpStream,
    nodes: &[u16],
    counts: &Mutex<HashMap<String, usize>>,
) -> anyhow::Result<()> {
    let mut length = [0; 4];
    client.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
    client.read_exact(&mut body)?;
    let first = [&length[..], &body].concat();
    if body.starts_with(&CANCEL_REQUEST.to_be_bytes()) {
        // Only the server that gave out the key takes it.
        for port in nodes {
            TcpStream::connect((Ipv4Addr::LOCALHOST, *port))?.write_all(&first)?;
        }
        return Ok(());
    }
    let number = {
        let mut counts = counts.lock().expect("no thread panics with it");
        let count = counts.entry(application_name(&body)?).or_default();
        *count += 1;
        *count - 1
    };
    let node = number.saturating_sub(1) % nodes.len();
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, nodes[node]))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    (&server).write_all(&first)?;
    let (client_too, server_too) = (client.try_clone()?, server.try_clone()?);
    let back = std::thread::spawn(move || pass_on(server_too, client_too));
    pass_on(client, server);
    back.join().ok();
    Ok(())
}

fn application_name(startup: &[u8]) -> anyhow::Result<String> {
    let mut words = startup.get(4..).unwrap_or_default().split(|byte| *byte == 0);
    words.find(|word| *word == b"application_name").context("no application name")?;
    Ok(String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned())
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    std::io::copy(&mut from, &mut to).ok();
    to.shutdown(Shutdown::Write).ok();
}
