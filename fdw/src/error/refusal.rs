//! Why something is not done, as a value: the next planner may still try.

use super::SqlState;

/// A reason with the parts of a PostgreSQL error message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What clients act upon.
    pub sqlstate: SqlState,
    /// One line, lower-case start, no full stop.
    pub message: String,
    /// Facts, full sentences.
    pub detail: Option<String>,
    /// Advice, full sentences.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal without detail or hint.
    pub fn new(sqlstate: SqlState, message: impl Into<String>) -> Refusal {
        Refusal { sqlstate, message: message.into(), detail: None, hint: None }
    }

    /// The same with a detail.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Refusal {
        self.detail = Some(detail.into());
        self
    }

    /// The same with a hint.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Refusal {
        self.hint = Some(hint.into());
        self
    }

    /// 0A000.
    pub fn not_supported(message: impl Into<String>) -> Refusal {
        Refusal::new(SqlState::FEATURE_NOT_SUPPORTED, message)
    }

    /// XX000: something that this code's own callers must not let happen.
    pub fn internal(message: impl Into<String>) -> Refusal {
        Refusal::new(SqlState::INTERNAL, message)
    }
}
