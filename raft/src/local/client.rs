//! A client for callers that may block: tests and tools. A backend waits on its
//! latch instead and uses [`FrameReader`] with the codec.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{FrameReader, Request, Response, SOCKET_NAME, decode_response, encode_request};
use crate::error::RaftError;

/// A blocking connection to a worker.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    reader: FrameReader,
}

impl Client {
    /// Connects to the worker whose directory is `dir`. A read that takes
    /// longer than `patience` fails; requests that change the membership take
    /// up to [`crate::Timing::membership`].
    pub fn connect(dir: &Path, patience: Duration) -> io::Result<Self> {
        let stream = UnixStream::connect(dir.join(SOCKET_NAME))?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Client { stream, reader: FrameReader::new() })
    }

    /// Sends a request and waits for its answer. The outer error is the
    /// connection's, which is of no use after that.
    pub fn call(&mut self, request: &Request) -> io::Result<Result<Response, RaftError>> {
        let bytes = match encode_request(request) {
            Ok(bytes) => bytes,
            Err(e) => return Ok(Err(e)),
        };
        self.stream.write_all(&bytes)?;
        self.read_response()
    }

    fn read_response(&mut self) -> io::Result<Result<Response, RaftError>> {
        let mut chunk = [0; 8192];
        loop {
            match self.reader.next_frame() {
                Ok(Some(frame)) => return Ok(decode_response(&frame)),
                Ok(None) => {}
                Err(e) => return Err(io::Error::new(io::ErrorKind::InvalidData, e)),
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.reader.extend(&chunk[..n]),
            }
        }
    }
}
