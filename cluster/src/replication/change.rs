//! One change of a row, in front of its images.

/// What stands in front of each change that travels to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new row follows.
    Insert,
    /// The key of the row as it was follows, then the row as it is.
    Update,
    /// The key of the row as it was follows.
    Delete,
    /// A key follows, then the row that has it now.
    Present,
    /// A key follows that no row has now.
    Absent,
    /// All rows are gone.
    Truncate,
}

impl Change {
    /// As one byte.
    pub fn code(self) -> u8 {
        match self {
            Change::Insert => b'I',
            Change::Update => b'U',
            Change::Delete => b'D',
            Change::Present => b'P',
            Change::Absent => b'A',
            Change::Truncate => b'T',
        }
    }

    /// Read back.
    pub fn of_code(code: u8) -> Option<Self> {
        let all = [
            Change::Insert,
            Change::Update,
            Change::Delete,
            Change::Present,
            Change::Absent,
            Change::Truncate,
        ];
        all.into_iter().find(|change| change.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_read_back() {
        for code in 0..=u8::MAX {
            if let Some(change) = Change::of_code(code) {
                assert_eq!(change.code(), code);
            }
        }
        assert_eq!((0..=u8::MAX).filter_map(Change::of_code).count(), 6);
    }
}
