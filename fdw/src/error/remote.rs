//! An ErrorResponse or NoticeResponse with all its fields.

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorFields;

use super::SqlState;

/// How leaves are named between nodes.
const LEAF_PREFIX: &[u8] = b"shardman_data.";

/// What the other server said. Text is in the local database's encoding, which
/// is the connection's client_encoding.
#[derive(Clone, Debug, Default)]
pub struct RemoteError {
    /// Untranslated: ERROR, FATAL, PANIC, WARNING, NOTICE, …
    pub severity: String,
    /// Absent only if the server is broken.
    pub sqlstate: Option<SqlState>,
    /// Primary message.
    pub message: Vec<u8>,
    /// DETAIL
    pub detail: Option<Vec<u8>>,
    /// HINT
    pub hint: Option<Vec<u8>>,
    /// CONTEXT of the remote server.
    pub context: Option<Vec<u8>>,
    /// SCHEMA NAME
    pub schema: Option<Vec<u8>>,
    /// TABLE NAME
    pub table: Option<Vec<u8>>,
    /// COLUMN NAME
    pub column: Option<Vec<u8>>,
    /// DATATYPE NAME
    pub datatype: Option<Vec<u8>>,
    /// CONSTRAINT NAME
    pub constraint: Option<Vec<u8>>,
    /// The C function that raised it there.
    pub routine: Option<Vec<u8>>,
}

impl RemoteError {
    /// Reads the fields of a message; unknown ones are skipped.
    pub fn read(mut fields: ErrorFields<'_>) -> std::io::Result<RemoteError> {
        let mut error = RemoteError::default();
        while let Some(field) = fields.next()? {
            let bytes = field.value_bytes();
            let text = || Some(bytes.to_vec());
            match field.type_() {
                b'V' => error.severity = String::from_utf8_lossy(bytes).into_owned(),
                // Servers before 9.6 send no V.
                b'S' if error.severity.is_empty() => {
                    error.severity = String::from_utf8_lossy(bytes).into_owned();
                }
                b'C' => {
                    error.sqlstate = std::str::from_utf8(bytes).ok().and_then(SqlState::parse);
                }
                b'M' => error.message = bytes.to_vec(),
                b'D' => error.detail = text(),
                b'H' => error.hint = text(),
                b'W' => error.context = text(),
                b's' => error.schema = text(),
                b't' => error.table = text(),
                b'c' => error.column = text(),
                b'd' => error.datatype = text(),
                b'n' => error.constraint = text(),
                b'R' => error.routine = text(),
                _ => {}
            }
        }
        Ok(error)
    }

    /// What a node says of a leaf that it does not have, if `command` asked it for
    /// one: the partition has moved, and the statement can be run again. A SET
    /// carries what a user has written, who may have named any leaf by hand.
    pub fn of_moved_partition(self, command: &str) -> RemoteError {
        let names_leaf = self.message.windows(LEAF_PREFIX.len()).any(|part| part == LEAF_PREFIX);
        let asks = command.contains("shardman_data.") && !command.starts_with("SET ");
        if self.sqlstate != Some(SqlState::UNDEFINED_TABLE) || !names_leaf || !asks {
            return self;
        }
        RemoteError {
            sqlstate: Some(SqlState::SERIALIZATION_FAILURE),
            message: b"a partition that the statement uses has moved to another node".to_vec(),
            detail: Some(self.message),
            hint: Some(b"Run the transaction again.".to_vec()),
            ..self
        }
    }

    /// True if the session over there is gone with this message: FATAL and
    /// PANIC, and what a server says while it shuts down or recovers.
    pub fn ends_the_session(&self) -> bool {
        matches!(self.severity.as_str(), "FATAL" | "PANIC")
    }
}
