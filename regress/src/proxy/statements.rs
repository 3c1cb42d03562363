//! Which SQL a frontend message runs. Pure.

use std::collections::HashMap;

use super::framing::Message;

/// What one connection has parsed and bound.
#[derive(Default)]
pub struct Statements {
    prepared: HashMap<Vec<u8>, String>,
    portals: HashMap<Vec<u8>, String>,
}

impl Statements {
    /// The SQL that a message has the server run: of Query the text, of Execute
    /// that of its portal.
    pub fn run_by(&mut self, message: &Message) -> Option<String> {
        let mut strings = message.body().split(|byte| *byte == 0);
        match message.kind {
            b'Q' => Some(text(strings.next()?)),
            b'P' => {
                let (name, sql) = (strings.next()?, strings.next()?);
                self.prepared.insert(name.to_vec(), text(sql));
                None
            }
            b'B' => {
                let (portal, name) = (strings.next()?, strings.next()?);
                let sql = self.prepared.get(name)?.clone();
                self.portals.insert(portal.to_vec(), sql);
                None
            }
            b'E' => self.portals.get(strings.next()?).cloned(),
            _ => None,
        }
    }
}

/// Whether the server will answer a message with ReadyForQuery.
pub fn asks_for_ready(message: &Message) -> bool {
    matches!(message.kind, b'Q' | b'S' | b'F')
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Message {
        let length = (body.len() + 4) as u32;
        Message { kind, bytes: [&[kind], &length.to_be_bytes()[..], body].concat() }
    }

    #[test]
    fn a_query_runs_its_text() {
        let sql = Statements::default().run_by(&message(b'Q', b"COMMIT\0"));
        assert_eq!(sql.as_deref(), Some("COMMIT"));
    }

    #[test]
    fn execute_runs_what_its_portal_was_bound_to() {
        let mut statements = Statements::default();
        assert_eq!(statements.run_by(&message(b'P', b"s1\0SELECT 1\0\0\0")), None);
        assert_eq!(statements.run_by(&message(b'P', b"s2\0SELECT 2\0\0\0")), None);
        assert_eq!(statements.run_by(&message(b'B', b"p\0s2\0\0\0\0\0\0\0")), None);
        let sql = statements.run_by(&message(b'E', b"p\0\0\0\0\0"));
        assert_eq!(sql.as_deref(), Some("SELECT 2"));
        assert_eq!(statements.run_by(&message(b'E', b"q\0\0\0\0\0")), None);
    }
}
