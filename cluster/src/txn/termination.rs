//! Participants that ask each other, because their coordinator cannot be asked.
//!
//! Each participant's prepared part carries a row that says "committed", so it
//! is there exactly if that part was committed. One that is asked and has
//! neither the row nor a prepared part has not prepared yet or has rolled back:
//! it writes that it never will commit, in a row with the same key, on which a
//! late PREPARE fails. Then the answer "aborted" is a promise.
//!
//! If all are prepared, the coordinator alone knows whether it committed. That
//! cannot be decided safely, and is not guessed.

use super::Verdict;

/// What a participant knows of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its part is committed.
    Committed,
    /// It has no part and never will.
    Aborted,
    /// Its part is prepared, or still at work.
    Prepared,
    /// It could not be asked, is no member any more, or takes no part.
    Unknown,
}

impl Answer {
    /// The word for it between nodes.
    pub fn as_str(self) -> &'static str {
        match self {
            Answer::Committed => "committed",
            Answer::Aborted => "aborted",
            Answer::Prepared => "prepared",
            Answer::Unknown => "unknown",
        }
    }

    /// Reads the word; anything else is no knowledge.
    pub fn parse(word: &str) -> Answer {
        let known = [Answer::Committed, Answer::Aborted, Answer::Prepared];
        known.into_iter().find(|answer| answer.as_str() == word).unwrap_or(Answer::Unknown)
    }
}

/// The fate of a prepared part whose coordinator cannot be asked.
pub fn decide_without_coordinator(others: &[Answer]) -> Verdict {
    let has = |answer| others.contains(&answer);
    match (has(Answer::Committed), has(Answer::Aborted)) {
        (true, false) => Verdict::Commit,
        (false, true) => Verdict::Rollback,
        // Both: somebody finished a part by hand against the others.
        _ => Verdict::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_knows_is_followed() {
        use Answer::{Aborted, Committed, Prepared, Unknown};
        assert_eq!(decide_without_coordinator(&[Prepared, Committed]), Verdict::Commit);
        assert_eq!(decide_without_coordinator(&[Aborted, Unknown]), Verdict::Rollback);
    }

    #[test]
    fn nothing_is_guessed() {
        use Answer::{Aborted, Committed, Prepared, Unknown};
        for nobody_knows in [&[][..], &[Prepared], &[Unknown], &[Prepared, Unknown]] {
            assert_eq!(decide_without_coordinator(nobody_knows), Verdict::Undecided);
        }
        assert_eq!(decide_without_coordinator(&[Committed, Aborted]), Verdict::Undecided);
    }

    #[test]
    fn answers_travel_as_words() {
        for answer in [Answer::Committed, Answer::Aborted, Answer::Prepared, Answer::Unknown] {
            assert_eq!(Answer::parse(answer.as_str()), answer);
        }
        assert_eq!(Answer::parse("commit"), Answer::Unknown);
    }
}
