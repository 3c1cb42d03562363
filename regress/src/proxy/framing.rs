//! Cutting a byte stream into the messages of PostgreSQL's protocol. Pure.

/// Which end of a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client: its first message has no type.
    Frontend,
    /// The server.
    Backend,
}

/// A message as it came, header included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// 0 for the untyped messages that open a connection.
    pub kind: u8,
    /// Everything, to be passed on.
    pub bytes: Vec<u8>,
}

impl Message {
    /// What follows type and length.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(if self.kind == 0 { 4 } else { 5 }..).unwrap_or_default()
    }
}

/// Takes bytes as they arrive, gives messages as they are complete.
pub struct Framing {
    buffer: Vec<u8>,
    /// No untyped message is expected any more.
    is_open: bool,
    /// Encrypted or not understood: passed on in the pieces that came.
    is_opaque: bool,
}

impl Framing {
    /// For one direction of a fresh connection.
    pub fn new(side: Side) -> Self {
        Self { buffer: Vec::new(), is_open: side == Side::Backend, is_opaque: false }
    }

    /// Takes what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete message.
    pub fn next(&mut self) -> Option<Message> {
        if self.is_opaque {
            let bytes = std::mem::take(&mut self.buffer);
            return (!bytes.is_empty()).then_some(Message { kind: 0, bytes });
        }
        let header = usize::from(self.is_open);
        let length = self.buffer.get(header..header + 4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        if length < 4 {
            self.is_opaque = true;
            return self.next();
        }
        if self.buffer.len() < header + length {
            return None;
        }
        let rest = self.buffer.split_off(header + length);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        let kind = if self.is_open { bytes[0] } else { 0 };
        self.is_open = true;
        Some(Message { kind, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTUP: &[u8] = &[0, 0, 0, 9, 0, 3, 0, 0, 0];
    const SYNC: &[u8] = &[b'S', 0, 0, 0, 4];

    #[test]
    fn messages_come_out_whole_however_they_arrive() {
        let query = b"Q\0\0\0\x0bCOMMIT\0";
        let stream = [STARTUP, query, SYNC].concat();
        for size in 1..=stream.len() {
            let mut framing = Framing::new(Side::Frontend);
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                framing.push(piece);
                while let Some(message) = framing.next() {
                    found.push(message);
                }
            }
            let kinds: Vec<u8> = found.iter().map(|message| message.kind).collect();
            assert_eq!(kinds, [0, b'Q', b'S'], "in pieces of {size}");
            assert_eq!(found[1].body(), b"COMMIT\0");
            let all: Vec<u8> = found.into_iter().flat_map(|message| message.bytes).collect();
            assert_eq!(all, stream);
        }
    }

    #[test]
    fn a_server_opens_with_a_type() {
        let mut framing = Framing::new(Side::Backend);
        framing.push(&[b'R', 0, 0, 0, 8, 0, 0, 0, 0, b'Z']);
        assert_eq!(framing.next().map(|message| message.kind), Some(b'R'));
        assert_eq!(framing.next(), None);
    }

    #[test]
    fn what_is_no_message_is_passed_on() {
        let mut framing = Framing::new(Side::Backend);
        framing.push(&[b'N', 0, 0, 0, 0, 7]);
        assert_eq!(framing.next().map(|message| message.bytes.len()), Some(6));
    }
}
