//! The five characters that clients retry by.

use std::fmt;

/// A SQLSTATE, five upper-case letters or digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// 0A000
    pub const FEATURE_NOT_SUPPORTED: SqlState = SqlState(*b"0A000");
    /// 08001
    pub const UNABLE_TO_ESTABLISH_CONNECTION: SqlState = SqlState(*b"08001");
    /// 08006
    pub const CONNECTION_FAILURE: SqlState = SqlState(*b"08006");
    /// 08007
    pub const TRANSACTION_RESOLUTION_UNKNOWN: SqlState = SqlState(*b"08007");
    /// 08P01
    pub const PROTOCOL_VIOLATION: SqlState = SqlState(*b"08P01");
    /// 22023
    pub const INVALID_PARAMETER_VALUE: SqlState = SqlState(*b"22023");
    /// 25P02
    pub const IN_FAILED_TRANSACTION: SqlState = SqlState(*b"25P02");
    /// 28000
    pub const INVALID_AUTHORIZATION: SqlState = SqlState(*b"28000");
    /// 2F003
    pub const PASSWORD_REQUIRED: SqlState = SqlState(*b"2F003");
    /// 42501
    pub const INSUFFICIENT_PRIVILEGE: SqlState = SqlState(*b"42501");
    /// 42704
    pub const UNDEFINED_OBJECT: SqlState = SqlState(*b"42704");
    /// 40001
    pub const SERIALIZATION_FAILURE: SqlState = SqlState(*b"40001");
    /// 42P01
    pub const UNDEFINED_TABLE: SqlState = SqlState(*b"42P01");
    /// 53300
    pub const TOO_MANY_CONNECTIONS: SqlState = SqlState(*b"53300");
    /// 55000
    pub const WRONG_STATE: SqlState = SqlState(*b"55000");
    /// 57014
    pub const QUERY_CANCELED: SqlState = SqlState(*b"57014");
    /// HV00Q
    pub const FDW_SCHEMA_NOT_FOUND: SqlState = SqlState(*b"HV00Q");
    /// HV00D
    pub const FDW_INVALID_OPTION_NAME: SqlState = SqlState(*b"HV00D");
    /// HV00L
    pub const FDW_UNABLE_TO_CREATE_EXECUTION: SqlState = SqlState(*b"HV00L");
    /// XX000
    pub const INTERNAL: SqlState = SqlState(*b"XX000");

    /// The code written as `text`; `None` unless it has five ASCII characters
    /// that a SQLSTATE may hold.
    pub fn parse(text: &str) -> Option<SqlState> {
        let bytes: [u8; 5] = text.as_bytes().try_into().ok()?;
        let legal = bytes.iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
        legal.then_some(SqlState(bytes))
    }

    /// PostgreSQL's packed form (`MAKE_SQLSTATE`).
    pub fn packed(self) -> i32 {
        self.0
            .iter()
            .enumerate()
            .fold(0, |sum, (i, b)| sum | (((i32::from(*b) - 0x30) & 0x3f) << (6 * i)))
    }

    /// From PostgreSQL's packed form.
    pub fn from_packed(packed: i32) -> SqlState {
        let mut bytes = [0u8; 5];
        for (i, b) in bytes.iter_mut().enumerate() {
            *b = (((packed >> (6 * i)) & 0x3f) + 0x30) as u8;
        }
        SqlState(bytes)
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }

    /// The first two characters: the class.
    pub fn class(&self) -> &str {
        &self.as_str()[..2]
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
