//! COPY FROM STDIN in one go: the command, all its data and the end leave
//! together. A server that refuses the command throws the data away, so nobody
//! has to wait for its consent first.

use std::io;

use bytes::{BufMut, BytesMut};
use postgres_protocol::message::frontend;

use super::Session;
use super::session::length;
use crate::error::Error;
use crate::transport::Ticket;

/// Longest CopyData message.
const PIECE: usize = 64 * 1024;

impl Session {
    /// Appends a COPY of `data`, parts one after another, and sends it. The
    /// reply's tag counts the rows.
    pub fn copy_in(&mut self, command: &[u8], data: &[&[u8]]) -> Result<Ticket, Error> {
        self.let_riders_off();
        let ticket = self.connection.expect();
        let result = (|| {
            let output = self.connection.output();
            write_query(output, command)?;
            for piece in data.iter().flat_map(|part| part.chunks(PIECE)) {
                output.put_u8(b'd');
                output.put_i32(length(4 + piece.len())?);
                output.put_slice(piece);
            }
            frontend::copy_done(output);
            Ok(())
        })();
        result.map_err(|e: io::Error| {
            // Half a request may be in the output.
            self.connection.give_up("a message could not be composed");
            self.not_sendable(&e)
        })?;
        self.connection.flush();
        Ok(ticket)
    }
}

/// Query, with SQL as bytes: the database need not be UTF-8.
fn write_query(output: &mut BytesMut, sql: &[u8]) -> io::Result<()> {
    if sql.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "SQL contains a null byte"));
    }
    output.put_u8(b'Q');
    output.put_i32(length(4 + sql.len() + 1)?);
    output.put_slice(sql);
    output.put_u8(0);
    Ok(())
}
