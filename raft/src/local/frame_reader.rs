//! Cuts a stream of bytes into frames, however they arrive.

use crate::error::RaftError;

/// No frame is larger than this, in bytes, its length not counted: a snapshot
/// of the metadata fits many times.
pub const MAX_FRAME_BYTES: usize = 64 * 1024 * 1024;

/// The length in front of each frame, big-endian.
pub(super) const LENGTH_BYTES: usize = 4;

/// Collects what a socket delivers and hands out whole frames. It does no I/O,
/// so that a backend can feed it from a latch-driven, non-blocking socket.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
}

impl FrameReader {
    /// A reader that has seen nothing.
    pub fn new() -> Self {
        FrameReader::default()
    }

    /// Takes bytes in the order in which they came.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame without its length, or none until more bytes come.
    ///
    /// Answers `TooLarge` as soon as the length is known; the stream cannot be
    /// used after that.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, RaftError> {
        let Some((length, rest)) = self.buffer.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_FRAME_BYTES {
            let (bytes, limit) = (length as u64, MAX_FRAME_BYTES as u64);
            return Err(RaftError::TooLarge { bytes, limit });
        }
        if rest.len() < length {
            return Ok(None);
        }
        let frame = rest[..length].to_vec();
        self.buffer.drain(..LENGTH_BYTES + length);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_bytes_arrive() {
        let stream = [0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0, 0, 0, 0, 1, b'c'];
        let mut reader = FrameReader::new();
        let mut frames = Vec::new();
        for byte in stream {
            reader.extend(&[byte]);
            while let Some(frame) = reader.next_frame().expect("small frames") {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [b"ab".to_vec(), Vec::new(), b"c".to_vec()]);
    }

    #[test]
    fn an_oversized_length_is_refused_before_its_bytes_are_read() {
        let mut reader = FrameReader::new();
        reader.extend(&[0xff, 0xff, 0xff, 0xff]);
        let limit = MAX_FRAME_BYTES as u64;
        assert_eq!(
            reader.next_frame(),
            Err(RaftError::TooLarge { bytes: u64::from(u32::MAX), limit })
        );
    }
}
