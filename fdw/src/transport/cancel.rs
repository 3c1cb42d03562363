//! The cancel request: a connection of its own that says one thing.

use std::time::Instant;

use bytes::{Buf, BytesMut};
use postgres_protocol::message::frontend;

use super::stream::Stream;
use super::wait::{Readiness, WaitSet};
use super::{Address, Interrupts, Stop};

/// Asks the server to cancel what a session runs. Returns when the server has
/// taken the request (it closes), or at the deadline; failure is not told,
/// since the caller has to look at the session itself anyway.
pub fn request_cancel(address: &Address, process_id: i32, secret_key: i32, deadline: Instant) {
    let _ = try_cancel(address, process_id, secret_key, deadline);
}

fn try_cancel(
    address: &Address,
    process_id: i32,
    secret_key: i32,
    deadline: Instant,
) -> Result<(), Stop> {
    let lost = |e: std::io::Error| Stop::Lost(e.to_string());
    let mut stream = Stream::connect(address).map_err(lost)?;
    // Dropped before the stream: declared later.
    let mut wait = WaitSet::new(stream.raw_fd(), Readiness::Write);
    wait.wait(Readiness::Write, Some(deadline), Interrupts::Ignore)?;
    stream.connected().map_err(lost)?;
    let mut output = BytesMut::new();
    frontend::cancel_request(process_id, secret_key, &mut output);
    while !output.is_empty() {
        let n = stream.write(&output).map_err(lost)?;
        output.advance(n);
    }
    let mut byte = [0u8; 1];
    wait.wait(Readiness::Read, Some(deadline), Interrupts::Ignore)?;
    let _ = stream.read(&mut byte);
    Ok(())
}
