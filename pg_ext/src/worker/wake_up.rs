//! How the Raft thread wakes the worker's main thread: a byte in a socket pair.
//! A latch may only be set from a thread that PostgreSQL knows.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

/// The end that the main thread waits on.
pub struct WakeUp(UnixStream);

impl WakeUp {
    /// A pair: our end, and what rings it from any thread.
    pub fn new() -> io::Result<(Self, impl Fn() + Send + Sync + 'static)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        // A full pipe is as good as a byte more: the reader is awake already.
        let ring = move || drop((&theirs).write(&[1]));
        Ok((WakeUp(ours), ring))
    }

    /// For a WaitEventSet.
    pub fn socket(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Forgets all rings so far. Call it before looking at the queue.
    pub fn clear(&mut self) {
        let mut rings = [0; 64];
        while matches!(self.0.read(&mut rings), Ok(n) if n == rings.len()) {}
    }
}
