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

/// The node that opens a connection with this message.
pub fn origin(message: &Message) -> Option<u16> {
    if message.kind != 0 {
        return None;
    }
    let mut words = message.body().split(|byte| *byte == 0);
    words.find(|word| word.ends_with(b"application_name"))?;
    let name = text(words.next()?);
    name.strip_prefix("shardman")?.rsplit_once(" of node ")?.1.parse().ok()
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
    fn a_connection_of_another_node_says_whose_it_is() {
        let opens = |name: &str| {
            let text = format!("\0\x03\0\0user\0me\0application_name\0{name}\0database\0d\0\0");
            let length = (text.len() + 4) as u32;
            let bytes = [&length.to_be_bytes()[..], text.as_bytes()].concat();
            origin(&Message { kind: 0, bytes })
        };
        assert_eq!(opens("shardman of node 3"), Some(3));
        assert_eq!(opens("shardman raft of node 12"), Some(12));
        assert_eq!(opens("psql"), None);
        assert_eq!(origin(&message(b'Q', b"application_name\0shardman of node 3\0")), None);
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
